"""Where reports go: files, a pipe, or a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fakescan.errors import ConfigError
from fakescan.report import FORMATS, Report, chunks
from fakescan.report.table import visible

SUFFIXES = {format_.suffix: name for name, format_ in FORMATS.items() if format_.suffix}
STYLES = {"fake": "bold red", "uncertain": "yellow", "real": "green", "error": "magenta"}


class Output:
    """One place that takes a report's text, visible to readers piece by piece."""

    def __init__(self, format_: str, write: Callable[[str], None]) -> None:
        self.format = format_
        self.write = write

    def keep(self) -> None:
        """The report is finished."""

    def close(self) -> None:
        """Let go; what was not kept leaves nothing that looks finished."""


class FileOutput(Output):
    """A report file."""

    def __init__(self, path: Path, format_: str) -> None:
        """Open it.

        Raises:
            ConfigError: it cannot be written.
        """
        super().__init__(format_, self._write)
        self._path = path
        is_whole = FORMATS[format_].is_whole
        self._partial = path.with_name(f".{path.name}.{os.getpid()}") if is_whole else path
        try:
            if path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            self._stream = self._partial.open(
                "w", encoding="utf-8", errors="surrogateescape", newline=""
            )
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
        if self._partial != self._path:
            self._partial.unlink(missing_ok=True)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as e:
            raise self._failed(e) from e

    def _failed(self, e: OSError) -> ConfigError:
        return ConfigError(f"{self._path}: cannot be written ({e.strerror})")


def check_outputs(paths: Sequence[Path]) -> None:
    """Refuse output files of no known format, before anything is loaded.

    Raises:
        ConfigError: naming the first of them.
    """
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"{path}: no report format; known: {', '.join(sorted(SUFFIXES))}")
    if len(set(paths)) < len(paths):
        raise ConfigError("--output: the same file twice")


def format_of(path: Path) -> str:
    """The format that an output file's suffix says; `check_outputs` has let it through."""
    return SUFFIXES[path.suffix.lower()]


def write_report(
    report: Report, files: Sequence[Path], stdout_format: str | None, console: Console
) -> None:
    """Write every output in one pass over the findings.

    Args:
        report: read to its end.
        files: the format of each follows from its suffix.
        stdout_format: what standard output gets; None for nothing.
        console: standard output's, for when that is a terminal.

    Raises:
        ConfigError: an output cannot be written; raised before the first finding is asked for
            whenever opening it shows that.
    """
    with ExitStack() as stack:
        outputs: list[Output] = []
        for path in files:
            outputs.append(FileOutput(path, format_of(path)))
            stack.callback(outputs[-1].close)
        if stdout_format is not None:
            outputs.append(_stdout(stdout_format, console))
        for texts in chunks(report, [FORMATS[output.format].writer for output in outputs]):
            for output, text in zip(outputs, texts, strict=True):
                output.write(text)
        for output in outputs:
            output.keep()


def _stdout(format_: str, console: Console) -> Output:
    if console.is_terminal:
        return Output(format_, lambda text: _show(text, console))
    stream = sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")

    def write(text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError:
            raise
        except OSError as e:
            drop_stdout()
            raise ConfigError(f"standard output: cannot be written ({e.strerror})") from e

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
