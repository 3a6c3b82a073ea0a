"""Patterns that leave files out: `.fakescanignore` files and `--include`, `--exclude`.

The syntax is gitignore's. An ignore file holds for its folder and all below; the nearest file that
has an opinion decides, and within a file the last line that matches. A folder that is ignored is
not entered, so that nothing below it can be taken back.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec, RegexPattern

from fakescan.errors import ConfigError

IGNORE_FILE = ".fakescanignore"
MAX_BYTES = 1 << 16
"""Of an ignore file; it may be a stranger's, and every line is tried on every name."""
FOLDER_MARK = "ps_d"
"""Pathspec's name for the group that matches the slash after a folder."""
MAX_STARS = 3
"""In one name of a pattern, and `**` in all of it: each more multiplies the time by the length of
the longest name, which is how a line can hold up a scan for hours."""


class Patterns:
    """Lines as in .gitignore."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Compile them.

        Raises:
            ValueError: one of them is no pattern.
        """
        spec = GitIgnoreSpec.from_lines(map(_inside, lines))
        patterns = [p for p in spec.patterns if isinstance(p, RegexPattern)]
        self._last_first = [(p.regex, p.include) for p in reversed(patterns) if p.regex is not None]

    def covers(self, path: str) -> bool:
        """Whether the lines name the path or a folder around it, outermost first, as git asks."""
        ends = [i + 1 for i, letter in enumerate(path) if letter == "/"]
        return any(self.is_match(path[:end]) for end in {*ends, len(path)})

    def is_match(self, path: str) -> bool | None:
        """What the last line that names the path itself says: True, or False after `!`, or None.

        What is said of a folder around it was asked when that folder was about to be entered.

        Args:
            path: with `/`; a folder's ends with one.
        """
        for regex, is_left_out in self._last_first:
            if any(_ends_at(found) in (None, len(path) - 1) for found in regex.finditer(path)):
                return is_left_out
        return None


@dataclass(frozen=True, slots=True)
class Rules:
    """The patterns of one ignore file, and how paths look from its folder."""

    patterns: Patterns
    above: str = ""
    """From the file's folder down to the folder that is walked, as `a/b/`; empty when it lies
    in that folder or below."""
    cut: int = 0
    """Characters of a path below the walked folder that lead to the file's folder."""

    def is_ignored(self, below: str) -> bool | None:
        """Whether a path is left out; None when no line says anything of it."""
        return self.patterns.is_match(self.above + below[self.cut :])


def is_ignored(chain: Sequence[Rules], below: str) -> bool:
    """Whether ignore files leave a path out.

    Args:
        chain: outermost file first.
        below: path below the folder that is walked, with `/`; a folder's ends with one.
    """
    opinions = (rules.is_ignored(below) for rules in reversed(chain))
    return next((opinion for opinion in opinions if opinion is not None), False)


def compiled(lines: Sequence[str], option: str) -> Patterns | None:
    """The patterns of an option; None for no patterns.

    Raises:
        ConfigError: one of them is no gitignore pattern.
    """
    try:
        return Patterns(lines) if lines else None
    except ValueError as e:
        raise ConfigError(f"{option}: not a pattern as in .gitignore ({e})") from e


def read_patterns(folder: str) -> Patterns | None:
    """Read the ignore file of a folder; None when it has none.

    Lines that are no patterns say nothing, as in git.

    Raises:
        OSError: there is one that cannot be read, or should not be.
    """
    path = Path(folder) / IGNORE_FILE
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        raise OSError(f"{path}: not a file of at most {MAX_BYTES} bytes")
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    lines = text.splitlines()
    if any(map(_is_costly, lines)):
        raise OSError(f"{path}: more than {MAX_STARS} asterisks in a name")
    return Patterns(filter(_is_pattern, lines))


def rules_above(folder: str) -> Iterator[Rules]:
    """Ignore files from the current folder down to just above a folder inside it.

    So that a folder gives the same rows alone and as part of the whole. None of them counts when
    they leave out the folder itself: it was named, and what is named is scanned.
    """
    here, place = os.path.realpath("."), os.path.realpath(folder)
    if place == here or os.path.commonpath([here, place]) != here:
        return
    steps = Path(place).relative_to(here).parts
    chain = []
    for depth in range(len(steps)):
        found = read_patterns(os.path.join(here, *steps[:depth]))  # noqa: PTH118
        if found is not None:
            chain.append(Rules(found, "/".join(steps[depth:]) + "/"))
    if not is_ignored(chain, ""):
        yield from chain


def _ends_at(found: re.Match[str]) -> int | None:
    """Where the slash of the folder that was matched stands; None where a file was."""
    if FOLDER_MARK not in found.re.groupindex or found.group(FOLDER_MARK) is None:
        return None
    return found.start(FOLDER_MARK)


def _inside(line: str) -> str:
    """`a/**` as git means it: what is in the folder and not the folder itself."""
    bare = line.rstrip(" ")
    return f"{bare}/*" if bare.endswith("/**") else line


def _is_costly(line: str) -> bool:
    names = line.split("/")
    doubles = sum("**" in name for name in names)
    return doubles > MAX_STARS or any(name.count("*") > MAX_STARS for name in names)


def _is_pattern(line: str) -> bool:
    try:
        Patterns([line])
    except ValueError:
        return False
    return True
