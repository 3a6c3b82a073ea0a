"""One metadata text of an ONNX file replaced, every other byte kept; and the hash of its graph.

An ONNX file is one protobuf message: fields one after another, each a key (number and wire
type) and a value. Metadata are fields of number 14, each a message of key (1) and value (2).
Nothing else needs to be understood, so no other field can change, and the package onnx is not
needed.

Source: Protocol Buffers, "Encoding"; `onnx.proto`, messages ModelProto and
StringStringEntryProto.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

GRAPH = 7
METADATA_PROPS = 14
KEY, VALUE = 1, 2
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types; the two others were given up before ONNX began."""
SIZES = {FIXED64: 8, FIXED32: 4}
MAX_VARINT_BYTES = 10


def replace_property(model: bytes, key: str, text: str) -> bytes:
    """The file with another text under one key; where it has none yet, at the end.

    Raises:
        ValueError: not a protobuf message.
    """
    entry = _field(METADATA_PROPS, _field(KEY, key.encode()) + _field(VALUE, text.encode()))
    parts: list[bytes] = []
    done, is_placed = 0, False
    for start, end, number, value in _fields(model):
        if number == METADATA_PROPS and _key_of(value) == key.encode():
            parts += [model[done:start], b"" if is_placed else entry]
            done, is_placed = end, True
    parts += [model[done:], b"" if is_placed else entry]
    return b"".join(parts)


def graph_sha256(model: bytes) -> str:
    """Of the field that holds the graph, its key and length included; metadata do not matter.

    Raises:
        ValueError: not a protobuf message.
    """
    digest = hashlib.sha256()
    for start, end, number, _ in _fields(model):
        if number == GRAPH:
            digest.update(memoryview(model)[start:end])
    return digest.hexdigest()


def _fields(message: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Where each field starts and ends, its number, and its bytes if it is of metadata size.

    Values of other wire types than LENGTH come as no bytes.
    """
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        first = at
        if wire == VARINT:
            _, at = _varint(message, at)
        elif wire == LENGTH:
            size, first = _varint(message, at)
            at = first + size
        elif wire in SIZES:
            at += SIZES[wire]
        else:
            raise ValueError(f"byte {start}: no protobuf message: wire type {wire}")
        if at > len(message) or not number:
            raise ValueError(f"byte {start}: no protobuf message: a field that cannot be")
        is_read = wire == LENGTH and number in (KEY, METADATA_PROPS)
        yield start, at, number, message[first:at] if is_read else b""


def _key_of(entry: bytes) -> bytes:
    return next((value for _, _, number, value in _fields(entry) if number == KEY), b"")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value = 0
    for i, byte in enumerate(message[at : at + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise ValueError(f"byte {at}: no protobuf message: a number without an end")


def _field(number: int, value: bytes) -> bytes:
    return _encoded(number << 3 | LENGTH) + _encoded(len(value)) + value


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
