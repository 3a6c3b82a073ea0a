"""Where the rows of a command go: files and standard output, in one of three formats."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from fakescan.errors import ConfigError, OutputError


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


SUFFIXES = {".csv": Format.CSV, ".json": Format.JSON}
Texts = Mapping[Format, Callable[[], str]]
"""What makes the text of each format."""


def check_outputs(outputs: Sequence[Path] | None) -> None:
    """Refuse files of no known format before anything is computed.

    Raises:
        ConfigError: naming the first of them.
    """
    for path in outputs or ():
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"{path}: no format for it; known: {', '.join(sorted(SUFFIXES))}")


def send(texts: Texts, format_: Format | None, outputs: Sequence[Path] | None) -> None:
    """Send rows to files, and to standard output unless there is no format for it.

    Raises:
        OutputError: a file cannot be written.
    """
    for path in outputs or ():
        text = texts[SUFFIXES[path.suffix.lower()]]()
        write_whole(path, text.encode("utf-8", "surrogateescape"))
    if format_ is None:
        return
    sys.stdout.flush()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
    sys.stdout.write(texts[format_]())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file; it appears whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as e:
        raise OutputError(f"{path}: cannot be written ({e.strerror})") from e
    finally:
        partial.unlink(missing_ok=True)


def note(text: str) -> None:
    """A line on standard error, safe for a terminal."""
    from fakescan.report.table import visible

    print(visible(text), file=sys.stderr)


@contextmanager
def needing(packages: Collection[str], command: str, extra: str) -> Iterator[None]:
    """Name the package that is missing, in one line.

    Args:
        packages: of the extra.
        command: that needs them.
        extra: of fakescan's installation.

    Raises:
        ConfigError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] not in packages:
            raise
        raise ConfigError(
            f"{command}: needs the package {e.name}: pip install 'fakescan[{extra}]'"
        ) from e
