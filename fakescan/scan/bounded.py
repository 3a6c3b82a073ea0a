"""Reading archives without believing them: how much, how long, how far, and only forwards."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import time
from typing import IO, TYPE_CHECKING, cast

from fakescan.errors import ImageTooLarge

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FREE_BYTES = 16_000_000
"""So much may come out whatever the ratio: a flat picture packs very well."""
DIRECTORY_BYTES = 32 << 20
"""Of a zip's directory, which Python reads at once; enough for 300,000 names."""
HEADER_BYTES = 1 << 20
"""Of one header in a tar, which Python reads at once."""
SKIP_BYTES = 1 << 16


class Budget:
    """Counts what comes out of one archive, and how long each member takes."""

    def __init__(self, packed_bytes: int, megabytes: float, ratio: float, timeout_s: float) -> None:
        """Fix the limits; the first member begins.

        Args:
            packed_bytes: size of the archive.
            megabytes: 10^6 bytes that may come out.
            ratio: bytes that may come out per byte of the archive, once 16 MB have.
            timeout_s: seconds for one member, and for all that must be read to reach it.
        """
        self._megabytes = megabytes
        self._ratio = ratio
        self._ratio_bytes = max(FREE_BYTES, packed_bytes * ratio)
        self._spent = 0
        self._timeout_s = timeout_s
        self.begin()

    def begin(self) -> None:
        """Count the time from here: the next member begins."""
        self._began = time.monotonic()

    def check_time(self) -> None:
        """Look at the clock.

        Raises:
            ImageTooLarge: the member has taken too long.
        """
        if time.monotonic() - self._began > self._timeout_s:
            raise ImageTooLarge(f"took longer than {self._timeout_s:g} s to unpack (--timeout)")

    def spend(self, count: int) -> None:
        """Count some bytes.

        Raises:
            ImageTooLarge: that was too much, or too late.
        """
        self.check_time()
        self._spent += count
        if self._spent > self._ratio_bytes:
            raise ImageTooLarge(
                f"unpacks to more than {self._ratio:g} times its size (--archive-ratio)"
            )
        if self._spent > self._megabytes * 1e6:
            raise ImageTooLarge(f"more than {self._megabytes:g} MB unpacked (--archive-megabytes)")


class CarefulFile(io.RawIOBase):
    """A file that never gives more at once than a sane archive needs, and no more when it is late.

    What is read may unpack to nothing, such as a million empty streams, so that looking at the
    clock where something comes out is not enough.
    """

    def __init__(self, raw: io.RawIOBase, budget: Budget) -> None:
        """Take over a file that can be read and sought in."""
        self._raw = raw
        self._budget = budget

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """As the file that it took over."""
        return self._raw.seekable()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """As any raw file; what buffered readers call.

        Raises:
            ImageTooLarge: the member has taken too long.
        """
        self._budget.check_time()
        return self._raw.readinto(buffer) or 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As any raw file.

        Raises:
            ValueError: more than that was asked for.
            ImageTooLarge: the member has taken too long.
        """
        self._budget.check_time()
        if size is not None and size > DIRECTORY_BYTES:
            raise ValueError(f"a directory of {size} bytes")
        return self._raw.read(DIRECTORY_BYTES if size is None or size < 0 else size) or b""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As any raw file."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """As any raw file."""
        return self._raw.tell()

    def close(self) -> None:
        """Let go of the file."""
        self._raw.close()
        super().close()


class ForwardReader:
    """What `tarfile` reads a stream through: no way back, no large piece, and all is counted."""

    def __init__(self, stream: IO[bytes], budget: Budget) -> None:
        self._stream = stream
        self._budget = budget
        self._position = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes.

        Raises:
            ValueError: more than any header needs.
            ImageTooLarge: the archive's budget is spent.
        """
        if not 0 <= size <= HEADER_BYTES:
            raise ValueError(f"a header of {size} bytes")
        data = self._stream.read(size)
        self._position += len(data)
        self._budget.spend(len(data))
        return data

    def seek(self, position: int) -> int:
        """Go forwards, reading what lies between.

        Raises:
            ValueError: backwards.
        """
        if position < self._position:
            raise ValueError("its parts overlap")
        while self._position < position:
            if not self.read(min(SKIP_BYTES, position - self._position)):
                break
        return self._position

    def tell(self) -> int:
        """Bytes read so far."""
        return self._position

    def close(self) -> None:
        """Let go of the stream."""
        self._stream.close()


def decompressed(file: io.RawIOBase) -> IO[bytes]:
    """The bytes that a file holds, unpacked when its first ones say that it is packed."""
    head = file.read(6) or b""
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=cast(IO[bytes], file)))
    if head.startswith(b"BZh"):
        return bz2.BZ2File(cast(IO[bytes], file))
    if head == b"\xfd7zXZ\x00":
        return lzma.LZMAFile(cast(IO[bytes], file))
    return cast(IO[bytes], io.BufferedReader(file))
