"""Where the images of a scan come from: files and folders, stores, lists, and archives in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from fakescan.errors import ImageUnreadable, PlaceError
from fakescan.places.access import Access, PlaceProblem
from fakescan.places.store import Entry
from fakescan.places.uri import is_uri, name_of, shown
from fakescan.records import Listing, Shard, Summary
from fakescan.scan.ahead import decode_ahead
from fakescan.scan.archive import ArchiveLimits, Archives, Member
from fakescan.scan.formats import is_archive
from fakescan.scan.remote import RemoteFile, RemoteWalk, named, reason_of
from fakescan.scan.selection import Selection
from fakescan.scan.shard import sharded, takes
from fakescan.scan.urilist import Line, UriList
from fakescan.scan.walk import walk

Target = str | UriList
"""A path, a URI, or a list of both."""
A_FOLDER = "a folder; in a list for --shard it must end with /"
NO_PLACE = "no path and no URI in this line"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finder:
    """What to take of what targets name."""

    selection: Selection
    archives: ArchiveLimits | None
    """None does not look into them."""
    access: Access
    shard: Shard | None = None
    """Which part to take; None takes all."""
    timeout_s: float = 60.0
    """Seconds that taking one image out of an archive may take."""

    def find(self, targets: Sequence[Target], summary: Summary) -> Iterator[str | Member]:
        """Yield paths of images, objects of stores, and images in archives, in order.

        Args:
            targets: what does not exist is yielded too, and fails later.
            summary: `skipped` grows by what is met and not yielded, by reason; of a shard also
                the listing.
        """
        skipped = summary.skipped
        if self.shard is None:
            found = self._found(targets, skipped)
        else:  # what all shards meet is counted in the first
            met = skipped if self.shard.number == 1 else Counter[str]()
            summary.listing = listing = Listing()
            found = sharded(_paths(self._found(targets, met), listing), self.shard, listing)
        if self.archives is None:
            return found
        archives = Archives(self.archives, self.selection, skipped, timeout_s=self.timeout_s)
        return self._unpacked(found, archives)

    def _unpacked(
        self, found: Iterator[str | RemoteFile], archives: Archives
    ) -> Iterator[str | Member]:
        for source in found:
            if isinstance(source, str):
                yield from archives.unpack(iter((source,)))
            elif source.entry is not None and is_archive(name_of(source.entry.uri)):
                yield from archives.stored(source.path, source.entry, self.access)
            else:
                yield source

    def _found(
        self, targets: Sequence[Target], skipped: Counter[str]
    ) -> Iterator[str | RemoteFile]:
        remote = RemoteWalk(self.selection, skipped, self.access)
        for is_local, group in groupby(targets, is_path):
            if is_local:
                yield from walk([t for t in group if isinstance(t, str)], skipped, self.selection)
                continue
            for target in dict.fromkeys(group):
                if isinstance(target, str):
                    yield from remote.visit(target)
                else:
                    yield from self._listed(target, remote)

    def _listed(self, listed: UriList, remote: RemoteWalk) -> Iterator[str | RemoteFile]:
        """Yield what the lines of a list name; stores are asked for many objects at once."""
        readers = self.access.readers
        try:
            for done in decode_ahead(
                listed.lines(),
                lambda line: _look(line, remote),
                workers=readers,
                ahead=2 * readers,
                is_ready=self._is_not_asked_for,
            ):
                place = done.item.place
                if place is None:
                    yield RemoteFile(listed.name(done.item), error=NO_PLACE)
                elif done.error is not None:
                    yield RemoteFile(shown(place), error=str(done.error))
                elif done.pixels is None:
                    yield RemoteFile(shown(place)) if is_uri(place) else place
                elif done.pixels:
                    yield named(done.pixels[0])
                elif self._is_object(place):
                    yield RemoteFile(shown(place), error=A_FOLDER)
                else:
                    yield from remote.below(place)
        except PlaceError as e:
            why = reason_of(e, listed.source)
            gap = f"not read further: {why}"
            yield RemoteFile(shown(listed.source), error=gap, is_gap=True)

    def _is_not_asked_for(self, line: Line) -> bool:
        """Whether a line names nothing in a store, or an object of another shard."""
        place = line.place
        if place is None or not is_uri(place):
            return True
        return (
            self.shard is not None
            and self._is_object(place)
            and not takes(self.shard, shown(place))
        )

    def _is_object(self, place: str) -> bool:
        """Whether a line must name an object: shards must agree on that without asking."""
        return self.shard is not None and not place.endswith("/")


def _paths(
    sources: Iterator[str | RemoteFile], listing: Listing
) -> Iterator[tuple[str, str | RemoteFile]]:
    for source in sources:
        if isinstance(source, str):
            yield source, source
        else:
            listing.is_whole = listing.is_whole and not source.is_gap
            yield source.path, source


def is_path(target: Target) -> bool:
    """Whether a target lies on this machine."""
    return isinstance(target, str) and not is_uri(target)


def _look(line: Line, remote: RemoteWalk) -> tuple[Entry, ...]:
    """The object that a line names; nothing for a folder."""
    place = line.place or ""
    try:
        entry = remote.look(place)
    except (PlaceError, PlaceProblem) as e:
        raise ImageUnreadable(reason_of(e, place)) from e
    return () if entry is None else (entry,)
