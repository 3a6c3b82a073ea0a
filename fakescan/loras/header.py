"""The header of a safetensors file, checked before anything in it is trusted.

    8 bytes   N, little-endian unsigned
    N bytes   JSON: {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {}}
    the rest  the tensors' bytes, without gaps

Source: safetensors, "Format". Differs from its reader: smaller limits, duplicate keys refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fakescan.errors import LoraError

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 16_000_000
"""The reference reader stops at 100 MB; the header of an adapter has a tenth of one."""
MAX_TENSORS = 50_000
MAX_NAME_LETTERS = 512
MAX_DIMENSIONS = 5
MAX_DEPTH = 4
MAX_METADATA_LETTERS = 8_000_000
METADATA = "__metadata__"
ITEM_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
}
TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A JSON text, or the rest where one does not end: each byte is looked at once."""
STRUCTURE = re.compile(rb"[][{}]")
MAX_STRUCTURES = 4 * MAX_TENSORS
"""Objects and lists; a tensor has one of the former and two of the latter."""
MAX_COMMAS = (MAX_DIMENSIONS + 4) * MAX_TENSORS


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one tensor lies, and what its bytes mean."""

    dtype: str
    """A key of `ITEM_BYTES`."""
    shape: tuple[int, ...]
    begin: int
    """Behind the header, in bytes."""
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says it holds; all of it agrees with the file's size."""

    tensors: Mapping[str, Slot]
    metadata: Mapping[str, str]
    data_start: int
    """Place of the first tensor's bytes in the file."""


def header_bytes(prefix: bytes, size: int) -> int:
    """How long the header is.

    Args:
        prefix: the file's first 8 bytes, or all it has.
        size: of the whole file, in bytes.

    Raises:
        LoraError: no safetensors file, or a header that is too long.
    """
    if len(prefix) < LENGTH_BYTES:
        raise LoraError("no safetensors file: it has fewer than 8 bytes")
    length = int.from_bytes(prefix, "little")
    if length < LENGTH_BYTES or length > size - LENGTH_BYTES:
        raise LoraError(
            f"no safetensors file, or cut short: its header would have {length} bytes, "
            f"and {size - LENGTH_BYTES} follow"
        )
    if length > MAX_HEADER_BYTES:
        raise LoraError(f"a header of {length} bytes; at most {MAX_HEADER_BYTES} are read")
    return length


def parse_header(raw: bytes, size: int) -> Header:
    """Parse and check a header.

    Args:
        raw: the header's bytes, without its length.
        size: of the whole file, in bytes.

    Raises:
        LoraError: naming the first thing that is wrong.
    """
    values = _parse_json(raw)
    metadata = _check_metadata(values.pop(METADATA, {}))
    if len(values) > MAX_TENSORS:
        raise LoraError(f"{len(values)} tensors; at most {MAX_TENSORS} are read")
    tensors = {name: _slot(_name(name), value) for name, value in values.items()}
    data_start = LENGTH_BYTES + len(raw)
    _check_layout(tensors, size - data_start)
    return Header(tensors, metadata, data_start)


def _parse_json(raw: bytes) -> dict[str, Any]:
    if not raw.startswith(b"{"):
        raise LoraError("no safetensors file: its header does not begin with '{'")
    _check_structure(raw)
    try:
        text = raw.decode("utf-8")
        values = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError as e:
        raise LoraError(f"its header is not UTF-8 (byte {e.start})") from e
    except (ValueError, RecursionError) as e:
        raise LoraError(f"its header is not JSON ({e})") from e
    if not isinstance(values, dict):
        raise LoraError("its header is no JSON object")
    return values


def _check_structure(raw: bytes) -> None:
    """Bound depth and number of values, so that parsing takes little memory."""
    bare = TEXT.sub(b"", raw)
    if bare.count(b"{") + bare.count(b"[") > MAX_STRUCTURES or bare.count(b",") > MAX_COMMAS:
        raise LoraError(f"its header has too many values for {MAX_TENSORS} tensors")
    depth = 0
    for match in STRUCTURE.finditer(bare):
        depth += 1 if match[0] in b"{[" else -1
        if depth > MAX_DEPTH:
            raise LoraError(f"its header is nested deeper than {MAX_DEPTH} levels")


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise LoraError(f"its header has the key {_short(key)} twice")
        values[key] = value
    return values


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _check_metadata(values: Any) -> dict[str, str]:
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        raise LoraError(f"{METADATA} must map texts to texts")
    if sum(len(k) + len(v) for k, v in values.items()) > MAX_METADATA_LETTERS:
        raise LoraError(f"{METADATA} has more than {MAX_METADATA_LETTERS} letters")
    return values


def _name(name: str) -> str:
    if not name or len(name) > MAX_NAME_LETTERS or not name.isprintable():
        raise LoraError(
            f"the tensor name {_short(name)} is empty, longer than {MAX_NAME_LETTERS} letters, "
            "or not printable"
        )
    return name


def _slot(name: str, value: Any) -> Slot:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise LoraError(f"{_short(name)} must have dtype, shape and data_offsets, nothing else")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise LoraError(f"{_short(name)} has the unknown type {_short(str(dtype))}")
    if not _are_counts(shape) or len(shape) > MAX_DIMENSIONS or 0 in shape:
        raise LoraError(
            f"{_short(name)} has no usable shape: at most {MAX_DIMENSIONS} sizes of at least 1"
        )
    if not _are_counts(offsets) or len(offsets) != 2:
        raise LoraError(f"{_short(name)} must have two data_offsets of at least 0")
    begin, end = offsets
    wanted = math.prod(shape) * ITEM_BYTES[dtype]  # Python's integers do not overflow
    if end - begin != wanted:
        raise LoraError(
            f"{_short(name)} takes {wanted} bytes by its shape, {end - begin} by its offsets"
        )
    return Slot(dtype, tuple(shape), begin, end)


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)


def _check_layout(tensors: Mapping[str, Slot], data_bytes: int) -> None:
    """Tensors must fill the data exactly: none overlaps, nothing hides between them."""
    place = 0
    for name, slot in sorted(tensors.items(), key=lambda item: item[1].begin):
        if slot.begin != place:
            kind = "overlaps another tensor" if slot.begin < place else "leaves a gap before it"
            raise LoraError(f"{_short(name)} {kind}")
        place = slot.end
    if place != data_bytes:
        raise LoraError(
            f"cut short or too long: {place} bytes of tensors, {data_bytes} in the file"
        )


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
