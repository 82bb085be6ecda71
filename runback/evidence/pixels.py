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
_PRIVATE = 32768
_ASIDE = "by pixels; set aside: what is written beside them"


def compare(case: Case) -> Iterator[Finding]:
    """Yield what is found of two pictures. Raises CannotLook: no pillow, or no picture."""
    pillow = needed("PIL.Image", "pillow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = (_frames(pillow, file) for file in (case.recorded, case.replayed))
    yield _finding(replace(case, tolerance=None), one, other)


def _frames(pillow: Any, file: BinaryIO) -> list[Tensor]:
    """Return the pixels of each frame; the colours of a palette, not their places in it.

    How long it is shown stands in the type.
    """
    np = needed("numpy", "numpy")
    file.seek(0)
    found, picture = [], pillow.open(file, formats=FORMATS)
    count = getattr(picture, "n_frames", 1)
    width, height = picture.size
    if count > _FRAMES_MAX or width * height * count > _LARGEST_PIXELS:
        raise CannotLook("differs in its bytes, and has too many pixels: not looked into")
    for at in range(count):
        picture.seek(at)
        frame = picture.convert("RGBA") if _is_mapped(picture) else picture
        found.append(Tensor(frame.mode + _beside(picture, count), np.array(frame)))
    return found


def _is_mapped(picture: Any) -> bool:
    """Say whether the pixels alone do not say what is seen: palettes, transparent colours."""
    is_transparent = "transparency" in picture.info and picture.mode in ("1", "L", "RGB")
    return picture.mode in ("P", "PA") or picture.format == "GIF" or is_transparent


def _beside(picture: Any, count: int) -> str:
    """Return in words what else is seen of a frame, or places it on a map."""
    said = [picture.info.get(key) for key in ("duration", "loop")]
    found = f", {said[0]} ms, loop {said[1]}" if count > 1 else ""
    if picture.mode not in ("P", "PA", "1", "L", "RGB") and "transparency" in picture.info:
        found += f", transparent {picture.info['transparency']}"
    # Private tags of TIFF, such as GeoTIFF's.
    tags = {tag: v for tag, v in getattr(picture, "tag_v2", {}).items() if tag >= _PRIVATE}
    return f"{found}, tags {tags}" if tags else found


def _finding(case: Case, one: list[Tensor], other: list[Tensor]) -> Finding:
    if len(one) != len(other):
        counts = [f"{len(frames)} pictures" for frames in (one, other)]
        shown = {"recorded": counts[0], "replayed": counts[1], "detail": "frames of pixels"}
        return case.finding(DIFFERENT, differing=1, **shown)
    found = [tensors.difference(case, a, b) for a, b in zip(one, other, strict=True)]
    parted = next((finding for finding in found if finding.status != SAME), None)
    if parted:
        return replace(parted, ulps=None, detail="by pixels, frames and durations")
    return case.finding(SAME, count=sum(finding.count for finding in found), detail=_ASIDE)
