"""A file in a store, read here and there, with every read tried again while that may help."""

from __future__ import annotations

import io
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


def buffered(file: io.RawIOBase) -> IO[bytes]:
    """For what reads lines or small pieces."""
    return cast(IO[bytes], io.BufferedReader(file, 1 << 20))
