"""Fast forms that were made before, a file each in fakescan's folder for caches.

A file's name says what it was made of, and by what; its end is a hash of the rest, so that one
that is cut or changed is made anew. It is written beside its place and then moved there: whoever
reads meets all of it or nothing, also while others write the same.
"""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from fakescan import weights
from fakescan.fast.form import VERSION, fast_form
from fakescan.fast.ranges import Open
from fakescan.metadata import DetectorMetadata, Precision

FOLDER, SUFFIX = "fast", ".fast"
FROM: tuple[Precision, ...] = ("int8", "fp32")
"""Precisions of files that a fast form is made of."""
DIGEST_BYTES = 32


class Made(NamedTuple):
    """A form that was made."""

    model: bytes
    warnings: list[str]
    """Why it is not kept, in one line."""


def folder() -> Path:
    """Where fast forms lie."""
    return weights.cache_folder() / FOLDER


def kept_form(sha256: str, runtime: str) -> bytes | None:
    """The fast form of a detector, if it was made before.

    Args:
        sha256: of the detector's file.
        runtime: version of ONNX Runtime, whose operators it uses.
    """
    try:
        data = _path(sha256, runtime).read_bytes()
    except OSError:
        return None
    model, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    return model if hashlib.sha256(model).digest() == digest else None


def new_form(
    model: bytes, sha256: str, runtime: str, metadata: DetectorMetadata, open_session: Open
) -> Made:
    """Make the fast form of a detector's file, and keep it in the place of older ones.

    Args:
        model: the file.
        sha256: of it.
        runtime: version of ONNX Runtime.
        metadata: of the file.
        open_session: loads a file as it is scored without this form.

    Raises:
        ValueError: there is none of such a file, with the reason.
    """
    if metadata.precision not in FROM:
        raise ValueError(f"the file is {metadata.precision}; it is made of {' and '.join(FROM)}")
    made = fast_form(model, metadata.preprocess, open_session)
    path = _path(sha256, runtime)
    try:
        _write(path, made)
    except OSError as e:
        place = path.parent
        return Made(made, [f"{place}: the fast form cannot be kept ({e.strerror}); made anew"])
    for old in path.parent.glob(f"{sha256}-*{SUFFIX}"):
        if old != path:
            with suppress(OSError):
                old.unlink()
    return Made(made, [])


def kept_bytes() -> int:
    """What all of them take on disk."""
    return sum(file.stat().st_size for file in _files())


def clear() -> int:
    """Remove all of them; gives the bytes that they took."""
    size = kept_bytes()
    for file in _files():
        file.unlink(missing_ok=True)
    return size


def _files() -> list[Path]:
    return sorted(folder().glob(f"*{SUFFIX}*"))


def _path(sha256: str, runtime: str) -> Path:
    return folder() / f"{sha256}-{VERSION}-{runtime}{SUFFIX}"


def _write(path: Path, model: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as part:
        partial = Path(part.name)
        try:
            part.write(model)
            part.write(hashlib.sha256(model).digest())
            part.close()
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
