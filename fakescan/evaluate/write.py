"""Where an evaluation's results go: files, by their suffix."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fakescan.errors import ConfigError, OutputError
from fakescan.evaluate.delimited import csv_text
from fakescan.evaluate.record import Report, plain
from fakescan.evaluate.text import markdown_text

PLOTS_NEED = "matplotlib"


def json_text(report: Report) -> str:
    """Everything; see docs/reference/evaluation.md."""
    return json.dumps(plain(report), indent=2) + "\n"


def html_text(report: Report) -> str:
    """One page with tables and pictures that needs nothing else."""
    from fakescan.evaluate.page import html_text as page  # loads matplotlib

    return page(report)


WRITERS: dict[str, Callable[[Report], str]] = {
    ".csv": csv_text,
    ".html": html_text,
    ".json": json_text,
    ".md": markdown_text,
}
"""By suffix."""


def check_outputs(files: Sequence[Path], plots: Path | None) -> None:
    """Refuse what cannot be written, before anything is scored.

    Raises:
        ConfigError: a suffix that is not known, or pictures without matplotlib.
        OutputError: a folder that is not there, or a file that is in the way.
    """
    for path in files:
        if path.suffix.lower() not in WRITERS:
            raise ConfigError(f"{path}: no format; known: {', '.join(sorted(WRITERS))}")
        if path.is_dir():
            raise OutputError(f"{path}: cannot be written (it is a folder)")
        if not path.absolute().parent.is_dir():
            raise OutputError(f"{path}: cannot be written (its folder does not exist)")
    if len(set(files)) < len(files):
        raise ConfigError("--output: the same file twice")
    if plots is not None and plots.exists() and not plots.is_dir():
        raise OutputError(f"{plots}: cannot be written (it is no folder)")
    if plots is not None or any(path.suffix.lower() == ".html" for path in files):
        _require_plots()


def write(report: Report, path: Path) -> None:
    """Write one file; it appears whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    write_bytes(WRITERS[path.suffix.lower()](report).encode("utf-8", "surrogateescape"), path)


def write_plots(report: Report, folder: Path) -> list[Path]:
    """Write every picture as PNG; gives their paths.

    Raises:
        OutputError: they cannot be written.
    """
    from fakescan.evaluate.pictures import pictures  # loads matplotlib

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{folder}: cannot be written ({e.strerror})") from e
    paths = []
    for picture in pictures(report):
        paths.append(folder / f"{picture.name}.png")
        write_bytes(picture.png, paths[-1])
    return paths


def write_bytes(data: bytes, path: Path) -> None:
    """Write one file; it appears whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as e:
        raise OutputError(f"{path}: cannot be written ({e.strerror})") from e


def _require_plots() -> None:
    from importlib.util import find_spec

    if find_spec(PLOTS_NEED) is None:
        raise ConfigError(
            f"plots and HTML need the package {PLOTS_NEED}: pip install 'fakescan[evaluate]'"
        )
