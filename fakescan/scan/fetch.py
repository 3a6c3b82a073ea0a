"""Bytes of objects ahead of the decoders: many requests at once, in order, bounded in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

from fakescan.errors import ImageTooLarge, ImageUnreadable, PlaceError
from fakescan.places.access import Access, PlaceProblem
from fakescan.places.store import Content, Store, store_of
from fakescan.scan.ahead import Decoded, decode_ahead
from fakescan.scan.archive import MEMBER_BYTES
from fakescan.scan.formats import HEAD_BYTES, sniff
from fakescan.scan.remote import RemoteFile, reason_of
from fakescan.scan.walk import NOT_IMAGE

Item = TypeVar("Item")

AHEAD_BYTES = 512_000_000
"""Of objects that are read before a decoder takes them, at most, by the sizes that were listed."""


def fetched(
    items: Iterable[Item],
    remote: Callable[[Item], RemoteFile | None],
    access: Access,
    skipped: Counter[str],
    max_bytes: float = float("inf"),
) -> Generator[Item, None, None]:
    """Yield items, in order, each once its object is read, or has the reason why it is not.

    Args:
        items: of any kind.
        remote: the object that an item waits for; None when it waits for nothing. Its `data` and
            `error` are filled in.
        access: to the stores; as many are read at once as it says.
        skipped: grows by what turns out to be no image; that is not yielded.
        max_bytes: an object above that is not read.
    """
    stores: set[Store] = set()

    def read(item: Item) -> Content | None:
        file = remote(item)
        assert file is not None
        if file.entry is not None:
            with suppress(PlaceError):  # told below
                stores.add(store_of(file.entry.uri, access))
        return read_object(file, access, max_bytes)

    def share(item: Item) -> float:
        file = remote(item)
        entry = None if file is None else file.entry
        return 0.0 if entry is None else (entry.size or 0) / AHEAD_BYTES

    ahead = decode_ahead(
        items,
        read,
        workers=access.readers,
        ahead=2 * access.readers,
        is_ready=lambda item: remote(item) is None,
        share=share,
    )
    try:
        yield from _filled(ahead, remote, skipped)
    finally:  # all is read, or nobody waits for what is left
        ahead.close()
        for store in tuple(stores):
            store.abandon()


def _filled(
    ahead: Iterable[Decoded[Item, Content | None]],
    remote: Callable[[Item], RemoteFile | None],
    skipped: Counter[str],
) -> Iterator[Item]:
    for done in ahead:
        file = remote(done.item)
        if file is not None and done.error is not None:
            file.error = str(done.error)
        elif file is not None and done.pixels is None:
            skipped[NOT_IMAGE] += 1
            continue
        elif file is not None and done.pixels is not None:
            file.data, file.entry = done.pixels.data, done.pixels.entry
        yield done.item


def read_object(file: RemoteFile, access: Access, max_bytes: float) -> Content | None:
    """The bytes of an object; of a doubtful one that is no image only its start is read: None.

    Raises:
        ImageError: with the reason why there are none.
    """
    entry = file.entry
    assert entry is not None
    if entry.size is not None and entry.size > max_bytes:
        raise ImageTooLarge(
            f"{entry.size / 1e6:.3g} MB; the limit is {max_bytes / 1e6:g} (--max-filesize)"
        )
    try:
        store = store_of(entry.uri, access)
        if file.is_doubtful and not (
            entry.size and sniff(store.read(entry, end=HEAD_BYTES).data[:HEAD_BYTES])
        ):
            return None
        content = store.read(entry)
    except (PlaceError, PlaceProblem) as e:
        raise ImageUnreadable(reason_of(e, entry.uri)) from e
    if len(content.data) > min(MEMBER_BYTES, max_bytes):
        raise ImageTooLarge("larger than the store said")
    return content
