"""What an index is: a folder that knows each LoRA file by the sha256 of its content.

    index.json                  version, folder, sketch size, files, and what was skipped
    sketches/SHA256.safetensors one for each content, see `store`
    means/FAMILY.safetensors    the mean sketch of each base-model family, see `means`

Nothing is ever pickled.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fakescan.errors import LoraError, LoraIndexError
from fakescan.loras.store import write_whole

VERSION = 1
NAME, SKETCHES = "index.json", "sketches"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the index."""

    path: str
    """Below the folder, with forward slashes."""
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """One file that is not in the index."""

    path: str
    size: int
    mtime_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What index.json says."""

    root: Path
    """The folder, absolute."""
    sketch_size: int
    entries: tuple[Entry, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def read_contents(index: Path) -> Contents:
    """Read index.json.

    Raises:
        LoraIndexError: no index, a damaged one, or one of another version.
    """
    path = index / NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["fakescan_lora_index"] != VERSION:
            raise LoraIndexError(f"{path}: an index of another version; make a new one")
        contents = Contents(
            Path(values["root"]),
            int(values["sketch_size"]),
            tuple(Entry(**row) for row in values["files"]),
            tuple(Skipped(**row) for row in values["skipped"]),
        )
    except FileNotFoundError as e:
        raise LoraIndexError(f"{index}: no index; make one: fakescan lora index") from e
    except OSError as e:
        raise LoraIndexError(f"{path}: cannot be read ({e.strerror})") from e
    except (KeyError, TypeError, ValueError, RecursionError) as e:
        raise LoraIndexError(f"{path}: damaged ({e}); make a new index") from e
    if any(set(entry.sha256) - set("0123456789abcdef") for entry in contents.entries):
        raise LoraIndexError(f"{path}: damaged (a sha256 that is none); make a new index")
    return contents


def sketch_path(index: Path, sha256: str) -> Path:
    """Where the sketch of a content lies."""
    return index / SKETCHES / f"{sha256}.safetensors"


def write_contents(index: Path, contents: Contents) -> None:
    """Write index.json; it appears whole or not at all.

    Raises:
        LoraIndexError: it cannot be written.
    """
    values: dict[str, Any] = {
        "fakescan_lora_index": VERSION,
        "root": str(contents.root),
        "sketch_size": contents.sketch_size,
        "files": [asdict(entry) for entry in contents.entries],
        "skipped": [asdict(bad) for bad in contents.skipped],
    }
    write_whole(index / NAME, (json.dumps(values, indent=1).encode(),))


def asked_entry(path: Path) -> Entry:
    """A file outside of any index, as if it were in one.

    Raises:
        LoraError: it is gone.
    """
    place = path.resolve()
    try:
        status = place.stat()
    except OSError as e:
        raise LoraError(f"{path}: cannot be read ({e.strerror})") from e
    return Entry(str(place), status.st_size, status.st_mtime_ns, "")
