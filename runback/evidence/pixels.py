"""Compare pictures by their pixels: what a file says beside them, of its program, is set aside."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from runback.evidence import tensors
from runback.evidence.case import CannotLook, needed
from runback.evidence.finding import DIFFERENT, SAME
from runback.evidence.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runback.evidence.case import Case
    from runback.evidence.finding import Finding

# None that pillow hands on to another program.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
_LARGEST_PIXELS = 100_000_000
_FRAMES_MAX = 1000
_ASIDE = "by pixels; set aside: what is written beside them"


def compare(case: Case) -> Iterator[Finding]:
    """Yield what is found of two pictures. Raises CannotLook: no pillow, or no picture."""
    pillow = needed("PIL.Image", "pillow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = (_frames(pillow, file) for file in (case.recorded, case.replayed))
    yield _finding(replace(case, tolerance=None), one, other)


def _frames(pillow: Any, file: BinaryIO) -> list[Tensor]:
    """Return the pixels of each frame; the colours of a palette, not their places in it."""
    np = needed("numpy", "numpy")
    file.seek(0)
    found, picture = [], pillow.open(file, formats=FORMATS)
    count = getattr(picture, "n_frames", 1)
    width, height = picture.size
    if count > _FRAMES_MAX or width * height * count > _LARGEST_PIXELS:
        raise CannotLook("differs in its bytes, and has too many pixels: not looked into")
    for at in range(count):
        picture.seek(at)
        frame = picture.convert("RGBA") if picture.mode in ("P", "PA") else picture
        found.append(Tensor(frame.mode, np.array(frame)))
    return found


def _finding(case: Case, one: list[Tensor], other: list[Tensor]) -> Finding:
    if len(one) != len(other):
        counts = [f"{len(frames)} pictures" for frames in (one, other)]
        return case.finding(DIFFERENT, differing=1, recorded=counts[0], replayed=counts[1])
    found = [tensors.difference(case, a, b) for a, b in zip(one, other, strict=True)]
    parted = next((finding for finding in found if finding.status != SAME), None)
    if parted:
        return replace(parted, ulps=None, detail="by pixels")
    return case.finding(SAME, count=sum(finding.count for finding in found), detail=_ASIDE)
