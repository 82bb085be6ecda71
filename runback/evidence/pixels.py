"""Compare pictures by their pixels: what a file says beside them, of its program, is set aside."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, BinaryIO

from runback.evidence.case import CannotLook, needed
from runback.evidence.finding import DIFFERENT, SAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runback.evidence.case import Case
    from runback.evidence.finding import Finding

# None that pillow hands on to another program.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
_LARGEST_PIXELS = 100_000_000
_FRAMES_MAX = 1000


def compare(case: Case) -> Iterator[Finding]:
    """Yield what is found of two pictures. Raises CannotLook: no pillow, or no picture."""
    pillow = needed("PIL.Image", "pillow")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one, other = (_frames(pillow, file) for file in (case.recorded, case.replayed))
    except CannotLook:
        raise
    except Exception as error:  # whatever a damaged picture leads to
        raise CannotLook(f"differs in its bytes, and is no picture: {error}"[:200]) from error
    yield _finding(case, one, other)


def _frames(pillow: Any, file: BinaryIO) -> list[tuple[str, bytes]]:
    """Return mode and size, and the pixels, of each frame; a palette's colours, not its places."""
    file.seek(0)
    found, picture = [], pillow.open(file, formats=FORMATS)
    count = getattr(picture, "n_frames", 1)
    width, height = picture.size
    if count > _FRAMES_MAX or width * height * count > _LARGEST_PIXELS:
        raise CannotLook("differs in its bytes, and has too many pixels: not looked into")
    for at in range(count):
        picture.seek(at)
        frame = picture.convert("RGBA") if picture.mode in ("P", "PA") else picture
        found.append((f"{frame.mode} {width} x {height}", frame.tobytes()))
    return found


def _finding(case: Case, one: list[tuple[str, bytes]], other: list[tuple[str, bytes]]) -> Finding:
    count = sum(len(pixels) for _, pixels in one)
    if one == other:
        return case.finding(
            SAME, count=count, detail="by pixels; set aside: what is written beside them"
        )
    shapes = [[shape for shape, _ in frames] for frames in (one, other)]
    if shapes[0] != shapes[1]:
        first = [f"{len(shape)} pictures, {shape[0]}" for shape in shapes]
        return case.finding(
            DIFFERENT, count=count, recorded=first[0], replayed=first[1], differing=1
        )
    apart = [
        abs(a - b)
        for (_, x), (_, y) in zip(one, other, strict=True)
        for a, b in zip(x, y, strict=True)
        if a != b
    ]
    return case.finding(
        DIFFERENT, count=count, differing=len(apart), largest=float(max(apart)), detail="by pixels"
    )
