"""Sketches on disk: one safetensors file for each content, named by its sha256.

A tensor `sketch` (modules, numbers) in float16, and in the metadata two JSON texts: `modules`, a
name with its shape and group for each row, and `summary`. They are read through a memory map.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fakescan.errors import LoraError, LoraIndexError
from fakescan.loras.describe import Description
from fakescan.loras.header import LENGTH_BYTES, Header, header_bytes, parse_header

TENSOR = "sketch"
DTYPES = {"F16": "<f2", "F32": "<f4"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What an index says of a file without opening it."""

    dialect: str
    kinds: tuple[str, ...]
    family: str
    modules: int
    """That are compared."""
    rank_min: int
    rank_max: int
    norm: float
    """Frobenius norm of all updates together: the strength."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sketch:
    """One content's row of numbers for each of its modules."""

    keys: tuple[str, ...]
    """Canonical name and shape of each row."""
    groups: tuple[str, ...]
    values: NDArray[Any]
    """(modules, numbers), mapped from the file."""
    summary: Summary


def summary_of(description: Description) -> Summary:
    """The short form of a description."""
    low, high = description.ranks
    return Summary(
        dialect=description.dialect,
        kinds=description.kinds,
        family=description.family,
        modules=len(description.compared),
        rank_min=low,
        rank_max=high,
        norm=description.norm,
        warnings=description.warnings,
    )


def write_sketch(path: Path, sketch: Sketch) -> None:
    """Write one content's sketch; the file appears whole or not at all.

    Raises:
        LoraIndexError: it cannot be written.
    """
    rows = [[key, group] for key, group in zip(sketch.keys, sketch.groups, strict=True)]
    metadata = {
        "modules": json.dumps(rows, separators=(",", ":")),
        "summary": json.dumps(asdict(sketch.summary)),
    }
    write_tensor(path, sketch.values.astype("<f2"), metadata)


def read_sketch(path: Path) -> Sketch:
    """Map one content's sketch.

    Raises:
        LoraIndexError: it is damaged or gone.
    """
    values, metadata = read_tensor(path)
    try:
        keys, groups = _rows(metadata["modules"])
        fields = json.loads(metadata["summary"])
        fields |= {name: tuple(fields[name]) for name in ("kinds", "warnings")}
        summary = Summary(**fields)
    except (KeyError, TypeError, ValueError, RecursionError) as e:
        raise LoraIndexError(f"{path}: not a sketch ({e}); index again") from e
    if len(keys) != len(values):
        raise LoraIndexError(f"{path}: not a sketch (rows and names differ); index again")
    return Sketch(keys, groups, values, summary)


@lru_cache(maxsize=64)
def _rows(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keys and groups; files of one trainer share the text, and so the tuples."""
    rows = json.loads(text)
    return tuple(str(key) for key, _ in rows), tuple(str(group) for _, group in rows)


def write_tensor(path: Path, values: NDArray[Any], metadata: dict[str, str]) -> None:
    """Write one tensor as a safetensors file, atomically.

    Raises:
        LoraIndexError: it cannot be written.
    """
    dtype = {"<f2": "F16", "<f4": "F32"}[values.dtype.str]
    header: dict[str, Any] = {"__metadata__": metadata}
    if values.size:
        slot = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [0, values.nbytes]}
        header[TENSOR] = slot
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    write_whole(path, (len(raw).to_bytes(8, "little"), raw, values.tobytes()))


def write_whole(path: Path, pieces: Sequence[bytes]) -> None:
    """Write a file under another name and give it its own when it is finished.

    Threads may write one file at once, as when two files of a folder have the same content.

    Raises:
        LoraIndexError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with partial.open("wb") as stream:
            stream.writelines(pieces)
        partial.replace(path)
    except OSError as e:
        raise LoraIndexError(f"{path}: cannot be written ({e.strerror})") from e
    finally:
        partial.unlink(missing_ok=True)


def read_tensor(path: Path) -> tuple[NDArray[Any], dict[str, str]]:
    """Map the tensor of a file that `write_tensor` wrote, and give its metadata.

    Raises:
        LoraIndexError: it is damaged or gone.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            raw = stream.read(header_bytes(stream.read(LENGTH_BYTES), size))
            header = parse_header(raw, size)
            return _mapped(stream, header), dict(header.metadata)
    except OSError as e:
        raise LoraIndexError(f"{path}: cannot be read ({e.strerror}); index again") from e
    except (LoraError, KeyError, ValueError) as e:
        raise LoraIndexError(f"{path}: damaged ({e}); index again") from e


def _mapped(stream: BinaryIO, header: Header) -> NDArray[Any]:
    slot = header.tensors.get(TENSOR)
    if slot is None:
        return np.zeros((0, 0), np.float16)
    return np.memmap(
        stream, dtype=DTYPES[slot.dtype], mode="r", offset=header.data_start, shape=slot.shape
    )
