"""Images inside zip and tar archives: `archive.zip!/a.png`, read one by one, never unpacked.

An archive is somebody else's data. Names in it are labels and never become paths, what its headers
promise is checked while it is read, and how much comes out of it is limited. Archives inside
archives are not opened.
"""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Protocol, cast

from fakescan.errors import ConfigError, ImageTooLarge, PlaceError
from fakescan.places.access import Access, PlaceProblem
from fakescan.places.store import Entry, store_of
from fakescan.scan.bounded import Budget, CarefulFile, ForwardReader, decompressed
from fakescan.scan.formats import HEAD_BYTES, has_image_suffix, is_archive, sniff
from fakescan.scan.selection import Choice, Selection
from fakescan.scan.walk import HIDDEN, NOT_IMAGE, NOT_REGULAR, TOO_LARGE

INSIDE = "!/"
"""Between the path of an archive and the name of a member."""
NESTED = "archive inside an archive"
MEMBER_BYTES = 256_000_000
"""Of one member, which is held in memory."""
CHUNK_BYTES = 1 << 16
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, OSError, EOFError),
    *(ValueError, OverflowError, NotImplementedError, IndexError, KeyError, struct.error),
    *(MemoryError, RecursionError),  # a header in front of a header in front of a header ...
)
"""What Python's readers raise on damaged archives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveLimits:
    """How much is taken out of one archive."""

    members: int = 10_000
    """Members that are looked at."""
    megabytes: float = 4000.0
    """Of all members together, in 10^6 bytes, unpacked."""
    ratio: float = 200.0
    """Unpacked bytes per byte of the archive, beyond the first 16 MB."""

    def __post_init__(self) -> None:
        for name in ("members", "megabytes", "ratio"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"archive_{name}: must be positive, got {getattr(self, name)}")


@dataclass(slots=True)
class Member:
    """One image in an archive, or the reason why there is none."""

    path: str
    """The archive's, `!/`, and the name in it; the archive's alone when the reason is its own."""
    data: bytes = b""
    """The bytes of the image's file."""
    error: str | None = None
    """Why there are none."""


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Entry:
    """What an archive says of one of its members."""

    name: str
    size: int
    open: Callable[[], _Stream | None] | None
    """Begins to read it; None for what is no regular file, or has an obstacle."""
    obstacle: str | None = None
    """Why it cannot be read."""


class Archives:
    """Looks into archives among paths."""

    def __init__(
        self,
        limits: ArchiveLimits,
        selection: Selection,
        skipped: Counter[str],
        *,
        timeout_s: float = 60.0,
    ) -> None:
        """Fix what is taken.

        Args:
            limits: for each archive.
            selection: its patterns, `hidden` and `max_filesize` hold for members too.
            skipped: grows by the members that are not yielded, by reason.
            timeout_s: seconds that taking out one member may take, with what lies before it.
        """
        self._timeout_s = timeout_s
        self._limits = limits
        self._selection = selection
        self._choice = Choice(selection)
        self._skipped = skipped

    def unpack(self, paths: Iterator[str]) -> Iterator[str | Member]:
        """Yield paths as they are, and in place of an archive its images, in its own order."""
        for path in paths:
            if is_archive(path) and _is_regular(path):
                yield from self.members(path)
            else:
                yield path

    def members(self, path: str) -> Iterator[Member]:
        """Yield the images in one archive; what stops the reading is a member with an error."""
        return self._members(path, partial(_opened_file, path))

    def stored(self, path: str, entry: Entry, access: Access) -> Iterator[Member]:
        """As `members`, of an archive in a store, of which only what is needed is fetched.

        Args:
            path: what members are called after.
            entry: of the store.
            access: to it.
        """
        return self._members(path, partial(_opened_object, entry, access))

    def _members(
        self, path: str, opening: Callable[[], tuple[io.RawIOBase, int]]
    ) -> Iterator[Member]:
        try:
            limits = self._limits
            file, size = opening()
            budget = Budget(size, limits.megabytes, limits.ratio, self._timeout_s)
            with closing(_entries(file, budget)) as entries:
                for count, entry in enumerate(entries, 1):
                    if count > limits.members:
                        raise ImageTooLarge(
                            f"more than {limits.members} members (--archive-members)"
                        )
                    if (member := self._member(path, entry)) is not None:
                        yield member
                    budget.begin()  # not before: it may have waited to be decoded
        except ImageTooLarge as e:
            yield Member(path, error=str(e))
        except (PlaceProblem, PlaceError) as e:
            yield Member(path, error=f"not read further: {e}")
        except BROKEN as e:
            yield Member(path, error=f"damaged archive: {_one_line(e)}")

    def _member(self, archive: str, entry: _Entry) -> Member | None:
        path = f"{archive}{INSIDE}{entry.name}"
        if reason := self._reason_to_skip(entry):
            self._skipped[reason] += 1
            return None
        if entry.open is None:
            return Member(path, error=entry.obstacle)
        try:
            data = _read(entry.name, entry.open())
        except (zipfile.BadZipFile, zlib.error) as e:  # the other members may be whole
            return Member(path, error=f"damaged archive: {_one_line(e)}")
        if data is None:
            self._skipped[NOT_IMAGE] += 1
            return None
        if len(data) > MEMBER_BYTES:
            return Member(path, error=f"larger than {MEMBER_BYTES // 10**6} MB in an archive")
        return Member(path, data)

    def _reason_to_skip(self, entry: _Entry) -> str | None:
        if entry.open is None and entry.obstacle is None:
            return NOT_REGULAR
        parts = entry.name.split("/")
        if not self._selection.hidden and any(p[:1] == "." and p.strip(".") for p in parts):
            return HIDDEN
        if reason := self._choice.reason(entry.name):
            return reason
        if is_archive(entry.name):
            return NESTED
        if entry.size > self._selection.max_bytes:
            return TOO_LARGE
        return NOT_IMAGE if entry.obstacle and not has_image_suffix(entry.name) else None


def _read(name: str, stream: _Stream | None) -> bytes | None:
    """All bytes of an image, or a few more than are held; None for what is no image."""
    if stream is None:
        return None
    with closing(stream):
        data = bytearray(stream.read(HEAD_BYTES))
        if not (has_image_suffix(name) or sniff(bytes(data))):
            return None
        while len(data) <= MEMBER_BYTES and (chunk := stream.read(CHUNK_BYTES)):
            data += chunk
    return bytes(data)


def _opened_file(path: str) -> tuple[io.RawIOBase, int]:
    return io.FileIO(path), Path(path).stat().st_size


def _opened_object(entry: Entry, access: Access) -> tuple[io.RawIOBase, int]:
    return store_of(entry.uri, access).open(entry.uri), entry.size or 0


def _entries(raw: io.RawIOBase, budget: Budget) -> Generator[_Entry, None, None]:
    with CarefulFile(raw, budget) as file:
        is_zip = file.read(2) == b"PK"
        file.seek(0)
        yield from _zip_entries(file, budget) if is_zip else _tar_entries(file, budget)


def _zip_entries(file: CarefulFile, budget: Budget) -> Iterator[_Entry]:
    with zipfile.ZipFile(cast(IO[bytes], file)) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                yield _Entry(info.filename, info.file_size, None)
            elif info.flag_bits & 1:
                yield _Entry(info.filename, info.file_size, None, "encrypted")
            elif info.compress_type not in ZIP_METHODS:
                yield _Entry(info.filename, info.file_size, None, "packed in a way not read")
            else:
                yield _Entry(info.filename, info.file_size, partial(_opened, archive, info, budget))


def _opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget) -> ForwardReader:
    return ForwardReader(archive.open(info), budget)


def _tar_entries(file: CarefulFile, budget: Budget) -> Iterator[_Entry]:
    with (
        closing(ForwardReader(decompressed(file), budget)) as reader,
        tarfile.TarFile(fileobj=reader) as archive,  # type: ignore[arg-type]  # it reads, no more
    ):
        while (info := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # it would remember all
            if info.isdir():
                continue
            is_plain = info.isreg() and not info.issparse()
            start = partial(archive.extractfile, info) if is_plain else None
            yield _Entry(info.name, info.size, start)


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116  (as in the walk)
    except (OSError, ValueError):
        return False


def _one_line(e: BaseException) -> str:
    return " ".join(str(e).split())[:200] or type(e).__name__
