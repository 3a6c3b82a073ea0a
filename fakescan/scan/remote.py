"""Objects of stores as sources of a scan: what of a listing is taken, and a row for what is wrong.

The selection holds as it does in folders on a disk: patterns, dots, depth and size; there are no
ignore files in a store. An object that is named is always taken.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fakescan.errors import PlaceError
from fakescan.places.access import Access, PlaceProblem
from fakescan.places.store import Entry, store_of
from fakescan.places.uri import shown
from fakescan.scan.archive import MEMBER_BYTES, Member
from fakescan.scan.cache import Stamp
from fakescan.scan.formats import has_image_suffix, is_archive
from fakescan.scan.selection import Choice, Selection
from fakescan.scan.walk import HIDDEN, TOO_DEEP, TOO_LARGE


@dataclass(slots=True)
class RemoteFile(Member):
    """One object that is to be read, or the reason why it cannot be."""

    entry: Entry | None = None
    """Of the store; once it is read, as it was then. None when there is an error."""
    is_gap: bool = False
    """Whether it stands for what a listing or a list did not give."""
    is_doubtful: bool = False
    """Whether only its first bytes can say that it is an image."""

    @property
    def stamp(self) -> Stamp | None:
        """What shows, without reading it, that it is still the same."""
        if self.entry is None or self.entry.size is None or self.entry.tag is None:
            return None
        digest = hashlib.blake2b(self.entry.tag.encode(), digest_size=8).digest()
        return Stamp(self.entry.size, int.from_bytes(digest, signed=True))


class RemoteWalk:
    """Finds the objects that URIs name, and those below them."""

    def __init__(self, selection: Selection, skipped: Counter[str], access: Access) -> None:
        """Fix what is taken.

        Args:
            selection: of what is met below a URI.
            skipped: grows by what is met and not yielded, by reason.
            access: to the stores.
        """
        self._selection = selection
        self._choice = Choice(selection)
        self._skipped = skipped
        self._access = access

    def visit(self, uri: str) -> Iterator[RemoteFile]:
        """Yield the object that a URI names, or all that is below it; a problem is a row."""
        try:
            entry = self.look(uri)
        except (PlaceError, PlaceProblem) as e:
            yield RemoteFile(shown(uri), error=reason_of(e, uri))
            return
        if entry is not None:
            yield named(entry)
        else:
            yield from self.below(uri)

    def look(self, uri: str) -> Entry | None:
        """What a URI names; None for a folder.

        Raises:
            PlaceError: there is no such store.
            PlaceProblem: it cannot be looked at.
        """
        return store_of(uri, self._access).look(uri)

    def below(self, folder: str) -> Iterator[RemoteFile]:
        """Yield what is taken of a folder; a listing that breaks off ends in a row."""
        start = len(folder.rstrip("/")) + 1
        met = 0
        try:
            for entry in store_of(folder, self._access).entries(folder):
                met += 1
                below = entry.uri[start:]
                if reason := self._reason(below, entry):
                    self._skipped[reason] += 1
                else:
                    yield replace(named(entry), is_doubtful=not self._is_plain(below))
        except (PlaceError, PlaceProblem) as e:
            why = reason_of(e, folder)
            gap = f"not listed beyond {met} objects: {why}"
            yield RemoteFile(shown(folder), error=gap, is_gap=True)

    def _is_plain(self, below: str) -> bool:
        is_opened = self._selection.archives and is_archive(below)
        return is_opened or has_image_suffix(below)

    def _reason(self, below: str, entry: Entry) -> str | None:
        """Why an object is not taken."""
        *folders, name = below.split("/")
        if not self._selection.hidden and any(part.startswith(".") for part in (*folders, name)):
            return HIDDEN
        if (limit := self._selection.max_depth) is not None and len(folders) >= limit:
            return TOO_DEEP
        places = ["/".join(folders[:i]) + "/" for i in range(1, len(folders) + 1)]
        for place in (*places, below):
            if reason := self._choice.reason(place):
                return reason
        is_opened = self._selection.archives and is_archive(below)
        is_large = entry.size is not None and entry.size > self._selection.max_bytes
        return TOO_LARGE if is_large and not is_opened else None


def named(entry: Entry) -> RemoteFile:
    """An object that is taken whatever it is called."""
    if entry.size is not None and entry.size > MEMBER_BYTES and not is_archive(entry.uri):
        reason = f"larger than {MEMBER_BYTES // 10**6} MB in a store"
        return RemoteFile(shown(entry.uri), error=reason)
    return RemoteFile(shown(entry.uri), entry=entry)


def reason_of(error: Exception, uri: str) -> str:
    """Why something could not be had, without the place, which its row names."""
    return str(error).removeprefix(f"{shown(uri)}: ")
