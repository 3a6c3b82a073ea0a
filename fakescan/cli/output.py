"""Where reports go: files, a pipe, or a terminal."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fakescan.errors import OutputError
from fakescan.report import FORMATS, Piece, Report, streams
from fakescan.report.table import visible

SUFFIXES = {format_.suffix: name for name, format_ in FORMATS.items() if format_.suffix}
STYLES = {"fake": "bold red", "uncertain": "yellow", "real": "green", "error": "magenta"}


class Output:
    """One place that takes a report's text, visible to readers piece by piece."""

    def __init__(self, format_: str, write: Callable[[Piece], None]) -> None:
        self.format = format_
        self.write = write

    def keep(self) -> None:
        """The report is finished."""

    def close(self) -> None:
        """Let go; what was not kept leaves nothing that looks finished."""


class FileOutput(Output):
    """A report file."""

    def __init__(self, path: Path, format_: str) -> None:
        """Open it; an earlier report stays until the first piece of this one.

        Raises:
            OutputError: it cannot be written.
        """
        super().__init__(format_, self._write)
        self._path = path
        is_whole = FORMATS[format_].is_whole
        self._partial = path.with_name(f".{path.name}.{os.getpid()}") if is_whole else path
        self._is_begun = False
        self._bytes = 0
        try:
            if path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            self._is_new = not os.path.lexists(self._partial)
            self._stream = self._partial.open("ab", buffering=0)
        except OSError as e:
            raise self._failed(e) from e

    def keep(self) -> None:
        """Give the file its name."""
        try:
            self._stream.close()
            self._partial.replace(self._path)
        except OSError as e:
            raise self._failed(e) from e

    def close(self) -> None:
        """Remove what was not kept and is no use in part."""
        with suppress(OSError):
            self._stream.close()
        if self._partial != self._path or (self._is_new and not self._is_begun):
            self._partial.unlink(missing_ok=True)

    def _write(self, text: Piece) -> None:
        """Write all of a piece, or nothing, so that a row is a row also on a full disk."""
        raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        data = memoryview(raw)
        try:
            if not self._is_begun:
                self._is_begun = True
                self._cut()
            size = self._bytes + len(data)
            while data:
                data = data[self._stream.write(data) :]
            self._bytes = size
        except OSError as e:
            with suppress(OSError):
                self._cut()
            raise self._failed(e) from e

    def _cut(self) -> None:
        """Take back what lies behind the last whole piece."""
        if stat.S_ISREG(os.fstat(self._stream.fileno()).st_mode):  # not a pipe, or a device
            self._stream.truncate(self._bytes)

    def _failed(self, e: OSError) -> OutputError:
        is_part = self._bytes and self._partial == self._path
        hint = "; what is there is only a part" if is_part else ""
        return OutputError(f"{self._path}: cannot be written ({e.strerror}){hint}")


def write_report(
    report: Report,
    opening: Sequence[Callable[[], Output]],
    stdout_format: str | None,
    console: Console,
) -> list[str]:
    """Write every output in one pass over the findings; gives what could not be written.

    Args:
        report: read to its end, unless nothing is left that can be written.
        opening: opens the outputs, but for standard output.
        stdout_format: what standard output gets; None for nothing.
        console: standard output's, for when that is a terminal.

    Raises:
        OutputError: an output cannot be opened, before the first finding is asked for; or all of
            them failed later.
    """
    failed: list[str] = []
    with ExitStack() as stack:
        outputs: list[Output] = []
        for open_ in opening:
            outputs.append(open_())
            stack.callback(outputs[-1].close)
        if stdout_format is not None:
            outputs.append(_stdout(stdout_format, console))
        texts = streams(report, [FORMATS[output.format].writer for output in outputs])
        live = list(zip(outputs, texts, strict=True))
        del texts  # one that failed must not hold back findings for itself
        while live:
            live = [pair for pair in live if _write_piece(*pair, failed)]
    if len(failed) == len(outputs):
        raise OutputError("; ".join(failed))
    return failed


def _write_piece(output: Output, texts: Iterator[Piece], failed: list[str]) -> bool:
    """Bring one output forward; False when it is finished, or has failed."""
    try:
        text = next(texts, None)
        if text is None:
            output.keep()
        else:
            output.write(text)
    except OutputError as e:
        failed.append(str(e))  # the error itself would hold its writer, and so all findings to come
        output.close()  # at once: others may need the room
        return False
    return text is not None


def _stdout(format_: str, console: Console) -> Output:
    if console.is_terminal:
        return Output(format_, lambda text: _show(str(text), console))
    stream = sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")

    def write(text: Piece) -> None:
        try:
            stream.write(str(text))
            stream.flush()
        except BrokenPipeError:
            raise
        except OSError as e:
            drop_stdout()
            raise OutputError(f"standard output: cannot be written ({e.strerror})") from e

    return Output(format_, write)


def drop_stdout() -> None:
    """Send the rest to nowhere, or Python fails again when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show(text: str, console: Console) -> None:
    """Print on a terminal: control characters as escapes, verdicts in colour."""
    for line in text.splitlines():
        shown = Text(visible(line))
        word = line.split(" ", 1)[0]
        if word in STYLES:
            shown.stylize(STYLES[word], 0, len(word))
        console.print(shown, soft_wrap=True)
