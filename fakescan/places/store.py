"""One store behind a URI: what it holds, and the bytes of its objects."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, Protocol, cast

from fakescan.errors import PlaceError
from fakescan.places.access import Access, PlaceProblem, patiently
from fakescan.places.patient import PatientFile
from fakescan.places.problems import GONE, ShortRead
from fakescan.places.uri import LIBRARIES, WEB, scheme_of, shown

TAGS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified")
"""Of what the libraries say of an object: what changes with its content, the best first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a store."""

    uri: str
    size: int | None = None
    """In bytes; None when the store does not say."""
    tag: str | None = None
    """What changes when the object does, such as its ETag; None when the store does not say."""


@dataclass(frozen=True, slots=True)
class Content:
    """What was read of one object."""

    data: bytes
    entry: Entry
    """As it was when it was read."""


class Store(Protocol):
    """What a scan asks of one kind of store; each raises `PlaceProblem` with a reason."""

    def look(self, uri: str) -> Entry | None:
        """One object, or None for a folder."""
        ...

    def entries(self, folder: str) -> Iterator[Entry]:
        """All objects below a folder, in order of their names where the store keeps one."""
        ...

    def read(self, entry: Entry, end: int | None = None) -> Content:
        """The bytes of an object, or its first ones."""
        ...

    def read_range(self, entry: Entry, start: int, end: int) -> bytes:
        """The bytes of an object from `start` up to `end`, of no other version than the entry's."""
        ...

    def abandon(self) -> None:
        """Let reads that go on fail at once, since nobody waits for them any more."""
        ...

    def open(self, uri: str) -> io.RawIOBase:
        """An object to read here and there; of what is not asked for, little is fetched."""
        ...

    def put(self, file: Path, uri: str) -> None:
        """Store a file, in place of what has its name."""
        ...


class FsspecStore:
    """Any store that fsspec knows."""

    def __init__(self, filesystem: Any, scheme: str, access: Access) -> None:
        self._fs = filesystem
        self._scheme = scheme
        self._access = access

    def look(self, uri: str) -> Entry | None:
        """As `Store.look`."""
        info = patiently(lambda: self._fs.info(uri), self._access)
        return None if info["type"] == "directory" else _entry(uri, info)

    def entries(self, folder: str) -> Iterator[Entry]:
        """As `Store.entries`: one request for each folder."""
        waiting = [folder]
        while waiting:
            here = waiting.pop()
            found = patiently(partial(self._fs.ls, here, detail=True), self._access)
            found = sorted((i for i in found if i["name"].rstrip("/")), key=lambda i: i["name"])
            waiting += [i["name"] for i in reversed(found) if i["type"] == "directory"]
            yield from (_entry(self._uri(i["name"]), i) for i in found if i["type"] != "directory")

    def read(self, entry: Entry, end: int | None = None) -> Content:
        """As `Store.read`."""

        def ask() -> bytes:
            data = cast(bytes, self._fs.cat_file(entry.uri, start=None, end=end))
            if end is None and entry.size is not None and len(data) < entry.size:
                raise ShortRead
            return data

        return Content(patiently(ask, self._access), entry)

    def read_range(self, entry: Entry, start: int, end: int) -> bytes:
        """As `Store.read_range`; this kind tells no versions apart."""

        def ask() -> bytes:
            data = cast(bytes, self._fs.cat_file(entry.uri, start=start, end=end))
            if len(data) < end - start:
                raise ShortRead
            return data

        return patiently(ask, self._access)

    def abandon(self) -> None:
        """As `Store.abandon`; this kind ends by its own timeouts."""

    def open(self, uri: str) -> io.RawIOBase:
        """As `Store.open`."""
        stream = patiently(lambda: cast(IO[bytes], self._fs.open(uri, "rb")), self._access)
        return PatientFile(stream, self._access)

    def put(self, file: Path, uri: str) -> None:
        """As `Store.put`."""
        patiently(lambda: self._fs.put_file(str(file), uri), self._access)

    def _uri(self, name: str) -> str:
        return name if "://" in name else f"{self._scheme}://{name.lstrip('/')}"


def store_of(uri: str, access: Access) -> Store:
    """The store that holds a URI's object; the same one for all of its scheme.

    Raises:
        PlaceError: its scheme is unknown, or a library is missing.
    """
    return _store(scheme_of(uri), access)


@lru_cache
def _store(scheme: str, access: Access) -> Store:
    try:
        import fsspec
        import tenacity  # noqa: F401  (asked for here, so that one line names what is missing)

        if scheme in ("s3", "s3a"):
            from fakescan.places.s3 import S3Store, s3_filesystem

            return S3Store(s3_filesystem(access), scheme, access)
        options = {} if scheme in WEB else {"use_listings_cache": False}
        return FsspecStore(fsspec.filesystem(scheme, **options), scheme, access)
    except ImportError as e:
        raise PlaceError(f"{scheme}://: needs more: pip install '{LIBRARIES[scheme]}'") from e


def check_places(uris: list[str], access: Access) -> None:
    """Refuse what cannot be read, before anything is scanned.

    Raises:
        PlaceError: naming the first of them, and why.
    """

    def look(store: Store, uri: str) -> None:
        try:
            store.look(uri)
        except PlaceProblem as e:
            raise PlaceError(f"{shown(uri)}: {_named(e, uri)}") from e

    stores = [store_of(uri, access) for uri in uris]
    if not uris:
        return
    with ThreadPoolExecutor(access.readers, thread_name_prefix="look") as pool:
        coming = [pool.submit(look, *each) for each in zip(stores, uris, strict=True)]
        try:
            for found in coming:
                found.result()
        finally:
            pool.shutdown(cancel_futures=True)


def check_folder(uri: str, access: Access) -> None:
    """Refuse to write where there is no bucket, or none that may be looked at.

    Raises:
        PlaceError: with the reason.
    """
    scheme, _, rest = uri.partition("://")
    try:
        store_of(uri, access).look(f"{scheme}://{rest.split('/')[0]}")
    except PlaceProblem as e:
        raise PlaceError(f"{shown(uri)}: {_named(e, uri)}") from e


def _named(e: PlaceProblem, uri: str) -> str:
    """The reason, for a person who has just typed the place."""
    reason = str(e)
    if reason == GONE:
        return "nothing has this name, or begins with it"
    return (
        f"{reason}; is AWS_ENDPOINT_URL right?" if "reached" in reason and "s3" in uri else reason
    )


def _entry(uri: str, info: dict[str, Any]) -> Entry:
    tag = next((str(info[name]) for name in TAGS if info.get(name)), None)
    size = info.get("size")
    return Entry(uri, None if size is None else int(size), tag)
