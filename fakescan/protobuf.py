"""Fields of protobuf messages, read and written; what is not understood is kept byte by byte.

An ONNX file is one message: fields one after another, each a key (number and wire type) and a
value. Metadata are fields of number 14, each a message of key (1) and value (2). To replace one
text, nothing else needs to be understood, so no other field can change, and the package onnx is
not needed.

Source: Protocol Buffers, "Encoding"; `onnx.proto`, messages ModelProto and
StringStringEntryProto.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

GRAPH = 7
METADATA_PROPS = 14
KEY, VALUE = 1, 2
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types; the two others were given up before ONNX began."""
SIZES = {FIXED64: 8, FIXED32: 4}
MAX_VARINT_BYTES = 10


class Field(NamedTuple):
    """One field, and where it lies in its message."""

    number: int
    wire: int
    """Its type."""
    start: int
    """Of its key."""
    end: int
    value: memoryview
    """The bytes behind the key, without the length."""

    @property
    def whole(self) -> int:
        """The value of a field of a whole number."""
        return _varint(self.value, 0)[0]

    @property
    def wholes(self) -> list[int]:
        """The values of a repeated field of whole numbers, one to a field or packed into one."""
        if self.wire == VARINT:
            return [self.whole]
        found, at = list[int](), 0
        while at < len(self.value):
            value, at = _varint(self.value, at)
            found.append(value)
        return found


def replace_property(model: bytes, key: str, text: str) -> bytes:
    """The file with another text under one key; where it has none yet, at the end.

    Raises:
        ValueError: not a protobuf message.
    """
    entry = field(METADATA_PROPS, field(KEY, key.encode()) + field(VALUE, text.encode()))
    parts: list[bytes] = []
    done, is_placed = 0, False
    for found in fields(model):
        if found.number == METADATA_PROPS and _key_of(found.value) == key.encode():
            parts += [model[done : found.start], b"" if is_placed else entry]
            done, is_placed = found.end, True
    parts += [model[done:], b"" if is_placed else entry]
    return b"".join(parts)


def graph_sha256(model: bytes) -> str:
    """Of the field that holds the graph, its key and length included; metadata do not matter.

    Raises:
        ValueError: not a protobuf message.
    """
    digest = hashlib.sha256()
    for found in fields(model):
        if found.number == GRAPH:
            digest.update(memoryview(model)[found.start : found.end])
    return digest.hexdigest()


def fields(message: bytes | memoryview) -> Iterator[Field]:
    """Yield the fields of a message, in order.

    Raises:
        ValueError: not a protobuf message.
    """
    view = memoryview(message)
    at = 0
    while at < len(view):
        start = at
        tag, at = _varint(view, at)
        number, wire = tag >> 3, tag & 7
        first = at
        if wire == VARINT:
            _, at = _varint(view, at)
        elif wire == LENGTH:
            size, first = _varint(view, at)
            at = first + size
        elif wire in SIZES:
            at += SIZES[wire]
        else:
            raise ValueError(f"byte {start}: no protobuf message: wire type {wire}")
        if at > len(view) or not number:
            raise ValueError(f"byte {start}: no protobuf message: a field that cannot be")
        yield Field(number, wire, start, at, view[first:at])


def field(number: int, value: bytes | memoryview) -> bytes:
    """A field of bytes, text or a message."""
    return b"".join((_encoded(number << 3 | LENGTH), _encoded(len(value)), value))


def whole_field(number: int, value: int) -> bytes:
    """A field of a whole number, 0 or above."""
    return _encoded(number << 3 | VARINT) + _encoded(value)


def float_field(number: int, value: float) -> bytes:
    """A field of a float32."""
    return _encoded(number << 3 | FIXED32) + struct.pack("<f", value)


def _key_of(entry: memoryview) -> bytes:
    return next((bytes(found.value) for found in fields(entry) if found.number == KEY), b"")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value = 0
    for i, byte in enumerate(message[at : at + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise ValueError(f"byte {at}: no protobuf message: a number without an end")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
