"""Text that waits for the end of a scan on disk, so that memory does not grow with the scan."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import IO, cast

from fakescan.errors import OutputError

IN_MEMORY = 1 << 20
"""Characters, roughly, from which a spool becomes a file."""
PIECE = 1 << 16


class Spool:
    """A temporary file of text; gone when it is left."""

    def __init__(self) -> None:
        self._file = cast(
            IO[str],
            tempfile.SpooledTemporaryFile(IN_MEMORY, "w+", encoding="utf-8", newline=""),  # noqa: SIM115
        )

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what was not written any more is not wanted any more
            self._file.close()

    @property
    def is_used(self) -> bool:
        """True once it holds text."""
        return self._file.tell() > 0

    def add(self, text: str) -> None:
        """Put text behind what is there.

        Raises:
            OutputError: the temporary folder is full or cannot be written.
        """
        with _reasons():
            self._file.write(text)

    def pieces(self) -> Iterator[str]:
        """All text, from its start, in pieces.

        Raises:
            OutputError: as `add`; some text may have waited in memory.
        """
        with _reasons():
            self._file.seek(0)
        while piece := self._file.read(PIECE):
            yield piece


@contextmanager
def _reasons() -> Iterator[None]:
    try:
        yield
    except OSError as e:
        folder = tempfile.gettempdir()
        raise OutputError(f"{folder}: cannot be written ({e.strerror})") from e
