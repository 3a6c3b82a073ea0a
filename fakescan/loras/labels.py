"""Labels of indexed files: from a CSV file, or the folder that each lies in."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fakescan.errors import ConfigError

COLUMNS = ("path", "label")
MAX_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Labelled:
    """What is known of one file."""

    label: str
    content: str | None = None
    """What its training images show, if that is to be told apart from the label."""
    group: str | None = None
    """Files of one group are never each other's neighbours, such as those of one artist."""


def read_labels(path: Path) -> dict[str, Labelled]:
    """Read a CSV file with the columns path, label and, if wanted, content and group.

    Args:
        path: of the file; paths in it are below the indexed folder.

    Raises:
        ConfigError: it cannot be read, lacks a column, or names a file twice.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(text.splitlines()))
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read ({e.strerror})") from e
    except (UnicodeDecodeError, csv.Error) as e:
        raise ConfigError(f"{path}: not a CSV file in UTF-8 ({e})") from e
    found: dict[str, Labelled] = {}
    for line, row in enumerate(rows, 2):
        if any(row.get(column) in (None, "") for column in COLUMNS):
            raise ConfigError(f"{path}, row {line}: needs {' and '.join(COLUMNS)}")
        key = row["path"].replace("\\", "/").removeprefix("./")
        if key in found:
            raise ConfigError(f"{path}, row {line}: {key} for the second time")
        found[key] = Labelled(row["label"], row.get("content") or None, row.get("group") or None)
    if not found:
        raise ConfigError(f"{path}: no rows; needs the columns {' and '.join(COLUMNS)}")
    return found


def labels_by_folder(paths: Sequence[str]) -> dict[str, Labelled]:
    """The first folder below the indexed one is the label; files beside it have none."""
    found = {}
    for path in paths:
        parts = PurePosixPath(path).parts
        if len(parts) > 1:
            found[path] = Labelled(parts[0])
    return found
