"""Files and folders on the command line -> image files, in a fixed order, each once.

A file that is named is always yielded. One that is met in a folder is yielded when its suffix or
its first bytes say that it is an image, else counted as skipped. Links to folders are not
followed; links to files are. Nothing that is not a regular file is ever opened.
"""

# Strings, as os.scandir gives them: a Path per file would cost more than the walk.
# ruff: noqa: PTH112, PTH118, PTH123

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fakescan.errors import ConfigError
from fakescan.scan.formats import HEAD_BYTES, has_image_suffix, sniff

NOT_IMAGE = "not an image"
NOT_REGULAR = "not a regular file"
LINK_TO_FOLDER = "link to a folder"
DANGLING = "link to nothing"
UNREADABLE = "file that cannot be read"
UNREADABLE_FOLDER = "folder that cannot be read"


def check(targets: Sequence[str]) -> None:
    """Refuse targets that do not exist, before anything is scanned.

    Raises:
        ConfigError: naming the first of them.
    """
    for target in targets:
        if not os.path.lexists(target):
            raise ConfigError(f"{target}: no such file or folder")


def walk(targets: Sequence[str], skipped: Counter[str]) -> Iterator[str]:
    """Yield every image file once: targets in the order given, folders in order of names.

    Args:
        targets: files and folders.
        skipped: grows by what is met and not yielded, by reason.
    """
    return _Walk(targets, skipped).run()


@dataclass(slots=True)
class _Walk:
    """The state of one walk: what was named, and what has been seen."""

    targets: Sequence[str]
    skipped: Counter[str]
    named: set[str] = field(default_factory=set)
    """Places of the files that are targets; they get their row by that name."""
    folders: set[str] = field(default_factory=set)
    """Places of the folders that were entered."""

    def run(self) -> Iterator[str]:
        waiting = {_place(t): t for t in reversed(self.targets) if not os.path.isdir(t)}
        self.named = set(waiting)
        for target in self.targets:
            if os.path.isdir(target):
                yield from self._folder(target)
            elif path := waiting.pop(_place(target), None):
                yield path

    def _folder(self, top: str) -> Iterator[str]:
        stack: list[str] = [top]  # what is still to do, last first: folders end with a separator
        while stack:
            path = stack.pop()
            if path is top or path.endswith(os.sep):
                stack += reversed(self._entries(path))
            else:
                yield path

    def _entries(self, folder: str) -> list[str]:
        """Image files and sub-folders of one folder, sorted, sub-folders with a separator."""
        place = os.path.realpath(folder)
        if place in self.folders:
            return []
        self.folders.add(place)
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            self.skipped[UNREADABLE_FOLDER] += 1
            return []
        return [path for entry in found if (path := self._entry(entry, place)) is not None]

    def _entry(self, entry: os.DirEntry[str], folder: str) -> str | None:
        """The path of one directory entry if it is to be visited, else None and a count."""
        if entry.is_dir(follow_symlinks=False):
            return entry.path + os.sep
        if os.path.join(folder, entry.name) in self.named:
            return None
        reason = _reason_to_skip(entry)
        if reason is None:
            return entry.path
        self.skipped[reason] += 1
        return None


def _place(path: str) -> str:
    """One name for a path however it is written; links at its end stay what they are."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def _reason_to_skip(entry: os.DirEntry[str]) -> str | None:
    try:
        mode = entry.stat().st_mode
    except OSError:
        return DANGLING if entry.is_symlink() else UNREADABLE
    if stat.S_ISDIR(mode):
        return LINK_TO_FOLDER
    if not stat.S_ISREG(mode):
        return NOT_REGULAR
    if has_image_suffix(entry.name):
        return None
    try:
        with open(entry.path, "rb", buffering=0) as stream:
            return None if sniff(stream.read(HEAD_BYTES)) else NOT_IMAGE
    except OSError:
        return UNREADABLE
