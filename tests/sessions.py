"""Console sessions in the documents: what is typed after `$ `, and what it prints."""

from __future__ import annotations

import re

# What differs from run to run, or from one CPU class to another.
VOLATILE = (
    (r"\b[a-z]+-[a-z]+-\d+ \([0-9a-f]{8}\)", "NAME (ID)"),
    (r"\b[a-z]+-[a-z]+-\d+\b", "NAME"),
    (r"sha256:[0-9a-f]{12}", "sha256:DIGEST"),
    (r"(?m)\b[0-9a-f]{8}\b", "ID"),
    (r"\bm-[0-9a-f]{8}\b", "MODEL"),
    (r"\d+m?s(/step)?\b", "TIME"),
    (r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?", "DATE"),
    (r"\b[\d.]+ (s|min|h|d)\b", "SPAN"),
    (r"\d\.\d{4,5}", "NUMBER"),
    (r"(?<=\S) {2,}(?=\S)", "  "),  # columns are as wide as their widest name
)


def blocks(text: str) -> list[str]:
    """Return the console sessions of a document."""
    return re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)


def steps(block: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a session, each with the lines that it prints.

    Lines of the launcher's, which go to stderr, are left out: test_run_script.py has those.
    """
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif not line.startswith("runback: "):
            found[-1][1].append(line)
    return found


def pattern(lines: list[str]) -> str:
    """Return a regular expression of the lines; … stands for anything, alone for any lines."""
    parts = [r"(?:.*\n)*?" if line == "…" else _line(line) + r"\n" for line in lines]
    return "".join(parts)


def _line(line: str) -> str:
    return re.escape(steady(line)).replace("…", ".*")


def steady(text: str) -> str:
    """Return a text without what differs each time."""
    for volatile, word in VOLATILE:
        text = re.sub(volatile, word, text)
    return text
