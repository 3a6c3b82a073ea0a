"""Open a safetensors file that nobody vouches for, and read its tensors one by one.

Bytes are read, not mapped: a file that is cut while it is mapped kills the process. Nothing is
ever unpickled.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from fakescan.errors import LoraError
from fakescan.loras.header import LENGTH_BYTES, Header, Slot, header_bytes, parse_header

SUFFIX = ".safetensors"
PICKLES = (".bin", ".ckpt", ".pkl", ".pt", ".pth")
MAX_FILE_BYTES = 4 << 30
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
BFLOAT, SMALL = "BF16", {"F8_E4M3": (4, 7), "F8_E5M2": (5, 15)}
"""Of the 8-bit types: bits of the exponent, and its bias. Source: arXiv 2209.05433, table 1."""

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What shows, without reading it, that a file is still the same."""

    size: int
    mtime_ns: int


class LoraFile:
    """A file whose header has been checked; its tensors are read when asked for."""

    def __init__(self, path: Path, stream: BinaryIO, header: Header, stamp: Stamp) -> None:
        """Take what `open_lora` found."""
        self.path = path
        self.header = header
        self.stamp = stamp
        self._stream = stream

    def read(self, name: str) -> Matrix:
        """One tensor as float32, in its shape.

        Raises:
            LoraError: not a floating-point tensor, or the file has been cut meanwhile.
        """
        slot = self.header.tensors[name]
        try:
            self._stream.seek(self.header.data_start + slot.begin)
            raw = _read_all(self._stream, slot.end - slot.begin)
        except OSError as e:
            raise LoraError(f"{self.path}: cannot be read ({e.strerror})") from e
        if len(raw) < slot.end - slot.begin:
            raise LoraError(f"{self.path}: it was cut while it was read")
        try:
            return decode(raw, slot)
        except KeyError as e:
            raise LoraError(
                f"{self.path}: {name!r} is of type {slot.dtype}; factors must be floating-point"
            ) from e


@contextmanager
def open_lora(path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> Iterator[LoraFile]:
    """Open a file and check its header.

    Raises:
        LoraError: naming the file and what is wrong with it.
    """
    if path.suffix.lower() in PICKLES:
        raise LoraError(
            f"{path}: may be a pickle, which can run code when it is loaded; it is never opened. "
            f"Convert it to {SUFFIX} with a tool that you trust"
        )
    try:
        descriptor = os.open(path, _flags())
    except OSError as e:
        raise LoraError(f"{path}: cannot be opened ({e.strerror})") from e
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise LoraError(f"{path}: not a regular file")
        if status.st_size > max_bytes:
            raise LoraError(f"{path}: {status.st_size} bytes; at most {max_bytes} are read")
    except LoraError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        try:
            header = _read_header(stream, status.st_size)
        except OSError as e:
            raise LoraError(f"{path}: cannot be read ({e.strerror})") from e
        except LoraError as e:
            raise LoraError(f"{path}: {e}") from e
        yield LoraFile(path, stream, header, Stamp(status.st_size, status.st_mtime_ns))


def _flags() -> int:
    """Read only; a pipe must not wait for a writer, Windows must not translate line ends."""
    return os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def _read_header(stream: BinaryIO, size: int) -> Header:
    prefix = _read_all(stream, LENGTH_BYTES)
    if prefix[:2] == b"PK" or (prefix[:1] == b"\x80" and prefix[1:2] in b"\2\3\4\5"):
        raise LoraError("looks like a pickle or zip file in spite of its name; it is not opened")
    raw = _read_all(stream, header_bytes(prefix, size))
    return parse_header(raw, size)


def _read_all(stream: BinaryIO, count: int) -> bytes:
    """Up to `count` bytes; a raw stream may give them in pieces."""
    pieces = []
    while count and (piece := stream.read(count)):
        pieces.append(piece)
        count -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def decode(raw: bytes, slot: Slot) -> Matrix:
    """Bytes of one tensor -> float32 in its shape.

    Raises:
        KeyError: not a floating-point type.
    """
    if slot.dtype == BFLOAT:
        wide = np.frombuffer(raw, "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(slot.shape)
    if slot.dtype in SMALL:
        return _small_floats(slot.dtype)[np.frombuffer(raw, np.uint8)].reshape(slot.shape)
    values = np.frombuffer(raw, FLOATS[slot.dtype])
    # What float32 cannot hold becomes infinite, and is refused, as are signalling NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32).reshape(slot.shape)


def _small_floats(dtype: str) -> Matrix:
    """The 256 values of an 8-bit type, (256,)."""
    exponent_bits, bias = SMALL[dtype]
    mantissa_bits = 7 - exponent_bits
    codes = np.arange(256)
    exponent = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    fraction = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    is_normal = exponent > 0
    size = np.where(is_normal, 1 + fraction, fraction)
    values = size * 2.0 ** (np.where(is_normal, exponent, 1) - bias)
    if dtype == "F8_E5M2":  # as IEEE 754: the last exponent means infinite or no number
        values[exponent == 31] = np.where(fraction[exponent == 31] == 0, np.inf, np.nan)
    else:  # no infinity; only all ones is no number
        values[(codes & 127) == 127] = np.nan
    return np.where(codes >= 128, -values, values).astype(np.float32)
