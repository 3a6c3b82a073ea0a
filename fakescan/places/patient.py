"""Files in a store, read here and there, with every read tried again while that may help."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, cast

from fakescan.places.access import Access, patiently

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class PatientFile(io.RawIOBase):
    """An object of a store as a file; every read raises `PlaceProblem` when it cannot be done."""

    def __init__(self, stream: IO[bytes], access: Access) -> None:
        """Take over a stream whose position stays where it was when a read fails."""
        self._stream = stream
        self._access = access

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer as far as there are bytes."""
        view = memoryview(buffer).cast("B")
        data = patiently(lambda: self._stream.read(len(view)), self._access)
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As for any file; nothing is fetched."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Bytes from the start."""
        return self._stream.tell()

    def close(self) -> None:
        """Let go of the stream."""
        if not self.closed:
            self._stream.close()
        super().close()


class BlockFile(io.RawIOBase):
    """An object of a store that is fetched a block at a time, from wherever it is read."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int, block_bytes: int) -> None:
        """Fetch nothing yet.

        Args:
            fetch: gives the bytes from one place up to another, or raises `PlaceProblem`.
            size: of the object, in bytes.
            block_bytes: fetched at once, and held.
        """
        self._fetch, self._size, self._block_bytes = fetch, size, block_bytes
        self._at = self._start = 0
        self._block = b""

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer as far as the present block goes."""
        view = memoryview(buffer).cast("B")
        if self._at >= self._size or not len(view):
            return 0
        if not self._start <= self._at < self._start + len(self._block):
            end = min(self._size, self._at + self._block_bytes)
            self._block, self._start = self._fetch(self._at, end), self._at
        begin = self._at - self._start
        data = self._block[begin : begin + len(view)]
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As for any file; nothing is fetched."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, "before the start")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Bytes from the start."""
        return self._at


def buffered(file: io.RawIOBase) -> IO[bytes]:
    """For what reads lines or small pieces."""
    return cast(IO[bytes], io.BufferedReader(file, 1 << 20))
