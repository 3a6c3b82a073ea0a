"""Files and folders on the command line -> image files, in a fixed order, each once.

A file that is named is always yielded. One that is met in a folder is yielded when its suffix or
its first bytes say that it is an image and the selection takes it, else counted as skipped. Links
to folders are not followed unless asked for; links to files are, inside the folder that is named.
Nothing that is not a regular file is ever opened.
"""

# Strings, as os.scandir gives them: a Path per file would cost more than the walk.
# ruff: noqa: PTH112, PTH118, PTH123

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fakescan.errors import ConfigError
from fakescan.scan.formats import HEAD_BYTES, has_image_suffix, is_archive, sniff
from fakescan.scan.ignore import IGNORE_FILE, Rules, is_ignored, read_patterns, rules_above
from fakescan.scan.selection import Choice, Selection

NOT_IMAGE = "not an image"
NOT_REGULAR = "not a regular file"
LINK_TO_FOLDER = "link to a folder"
LINK_OUT = "link out of the folder"
DANGLING = "link to nothing"
UNREADABLE = "file that cannot be read"
UNREADABLE_FOLDER = "folder that cannot be read"
UNREADABLE_RULES = f"{IGNORE_FILE} that cannot be read"
HIDDEN = "hidden"
IGNORED = f"ignored by {IGNORE_FILE}"
TOO_DEEP = "folder below --max-depth"
TOO_LARGE = "file above --max-filesize"
OWN_FOLDER = "folder of flagged images"


def check(targets: Sequence[str]) -> None:
    """Refuse targets that do not exist, before anything is scanned.

    Raises:
        ConfigError: naming the first of them.
    """
    for target in targets:
        if not os.path.lexists(target):
            raise ConfigError(f"{target}: no such file or folder")


def walk(
    targets: Sequence[str], skipped: Counter[str], selection: Selection | None = None
) -> Iterator[str]:
    """Yield every image file once: targets in the order given, folders in order of names.

    Args:
        targets: files and folders.
        skipped: grows by what is met and not yielded, by reason.
        selection: what to take of the files in folders; None takes the default.
    """
    return _Walk(targets, skipped, selection or Selection()).run()


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that is to be entered."""

    path: str
    top: str
    """Place of the folder that was named."""
    below: str = ""
    """From there, as `a/b/`."""
    depth: int = 0
    """Levels from there."""
    rules: tuple[Rules, ...] = ()
    """Ignore files that hold in it, outermost first; its own is not read yet."""


class _Walk:
    """The state of one walk: what was named, and what has been seen."""

    def __init__(self, targets: Sequence[str], skipped: Counter[str], selection: Selection) -> None:
        self._targets = targets
        self._skipped = skipped
        self._selection = selection
        self._choice = Choice(selection)
        self._leave_out = os.path.realpath(selection.leave_out) if selection.leave_out else None
        self._named: set[str] = set()
        """Places of the files that are targets; they get their row by that name."""
        self._entered: set[str] = set()
        """Places of folders."""

    def run(self) -> Iterator[str]:
        waiting = {_place(t): t for t in reversed(self._targets) if not os.path.isdir(t)}
        self._named = set(waiting)
        for target in self._targets:
            if os.path.isdir(target):
                yield from self._below(target)
            elif path := waiting.pop(_place(target), None):
                yield path

    def _below(self, target: str) -> Iterator[str]:
        stack: list[_Folder | str] = [self._top(target)]  # what is still to do, last first
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                yield item
            else:
                stack += self._entries(item)

    def _top(self, target: str) -> _Folder:
        rules = self._read(lambda: tuple(rules_above(target)))
        return _Folder(target, os.path.realpath(target), rules=rules)

    def _entries(self, folder: _Folder) -> list[_Folder | str]:
        """Image files and sub-folders of one folder, sorted by name, last first."""
        place = os.path.realpath(folder.path)
        if place in self._entered:
            return []
        self._entered.add(place)
        try:
            with os.scandir(folder.path) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            self._skipped[UNREADABLE_FOLDER] += 1
            return []
        inside = replace(folder, rules=folder.rules + self._read(lambda: _own_rules(folder)))
        items: list[_Folder | str] = []
        while found:  # dropped one by one: each remembers its status, 1 kB when asked for it
            entry = found.pop()
            is_named = os.path.join(place, entry.name) in self._named
            if is_named or entry.name == IGNORE_FILE:
                continue
            if (item := self._take(entry, inside)) is not None:
                items.append(item)
        return items

    def _read(self, read: Callable[[], tuple[Rules, ...]]) -> tuple[Rules, ...]:
        if not self._selection.ignore_files:
            return ()
        try:
            return read()
        except OSError:
            self._skipped[UNREADABLE_RULES] += 1
            return ()

    def _take(self, entry: os.DirEntry[str], folder: _Folder) -> _Folder | str | None:
        """What is to be visited of one directory entry; None, and a count, for nothing."""
        reason: str | None
        try:
            is_folder = entry.is_dir()
            reason = self._reason(entry, folder, is_folder=is_folder)
        except OSError:
            reason = DANGLING if entry.is_symlink() else UNREADABLE
        if reason is not None:
            self._skipped[reason] += 1
            return None
        if not is_folder:
            return entry.path
        below = f"{folder.below}{entry.name}/"
        return replace(folder, path=entry.path, below=below, depth=folder.depth + 1)

    def _reason(self, entry: os.DirEntry[str], folder: _Folder, *, is_folder: bool) -> str | None:
        """Why an entry is not visited; cheap reasons first."""
        if entry.name.startswith(".") and not self._selection.hidden:
            return HIDDEN
        return (
            self._link_reason(entry, folder, is_folder=is_folder)
            or self._pattern_reason(folder, entry.name + "/" * is_folder)
            or (self._folder_reason(entry, folder) if is_folder else self._file_reason(entry))
        )

    def _link_reason(
        self, entry: os.DirEntry[str], folder: _Folder, *, is_folder: bool
    ) -> str | None:
        if self._selection.follow_symlinks or not entry.is_symlink():
            return None
        entry.stat()  # a link to nothing is called so, wherever that is
        if is_folder:
            return LINK_TO_FOLDER
        is_inside = os.path.realpath(entry.path).startswith(os.path.join(folder.top, ""))
        return None if is_inside else LINK_OUT

    def _pattern_reason(self, folder: _Folder, name: str) -> str | None:
        below = folder.below + name
        return IGNORED if is_ignored(folder.rules, below) else self._choice.reason(below)

    def _folder_reason(self, entry: os.DirEntry[str], folder: _Folder) -> str | None:
        limit = self._selection.max_depth
        if limit is not None and folder.depth + 1 >= limit:
            return TOO_DEEP
        if self._leave_out and os.path.realpath(entry.path) == self._leave_out:
            return OWN_FOLDER
        return None

    def _file_reason(self, entry: os.DirEntry[str]) -> str | None:
        status = entry.stat()
        if not stat.S_ISREG(status.st_mode):
            return NOT_REGULAR
        if self._selection.archives and is_archive(entry.name):
            return None  # its members have limits of their own
        if status.st_size > self._selection.max_bytes:
            return TOO_LARGE
        if has_image_suffix(entry.name):
            return None
        with open(entry.path, "rb", buffering=0) as stream:
            return None if sniff(stream.read(HEAD_BYTES)) else NOT_IMAGE


def _own_rules(folder: _Folder) -> tuple[Rules, ...]:
    """The ignore file of a folder, if it has one."""
    found = read_patterns(folder.path)
    return () if found is None else (Rules(found, cut=len(folder.below)),)


def _place(path: str) -> str:
    """One name for a path however it is written; links at its end stay what they are."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)
