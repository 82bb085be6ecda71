"""The names of pictures that `mlflow.log_image(key=, step=)` draws, as both runs can have them."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "images/"
# Older versions part the words with %.
_DRAWN = re.compile(
    rf"({FOLDER}[^/]+[+%]step[+%]-?\d+)[+%]timestamp[+%](\d+)"
    rf"[+%][0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}((?:[+%]compressed)?\.(?:png|webp|json))"
)


def names(digests: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """Return by name of a picture the one that it has in any run: without time and uuid.

    Several of one key and step are counted, in the order in which they were logged.
    """
    found = [match for name in digests if (match := _DRAWN.fullmatch(name))]
    # Of those of one millisecond nobody knows the order: equal ones are paired.
    found.sort(key=lambda match: (int(match[2]), str(digests[match[0]].get("digest"))))
    seen: Counter[str] = Counter()
    shown = {}
    for match in found:
        name = match[1] + match[3]
        seen[name] += 1
        nth = f" ({seen[name]})" if seen[name] > 1 else ""
        if f"{match[1]}{nth}{match[3]}" not in digests:
            shown[match[0]] = f"{match[1]}{nth}{match[3]}"
    return shown
