"""Detector name -> verified file: what the package carries, and what can be fetched once.

The registry is a TOML table per detector; `default` names one of them. A file is looked for
beside the registry, then in the user's cache, then fetched; its sha256 is checked every time.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO

from fakescan.config import from_dict
from fakescan.errors import ChecksumError, WeightsError

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0
"""Of silence from the server, not of the whole download."""
SUFFIX = ".onnx"

Progress = Callable[[int, int], None]
"""Called with the bytes so far and the bytes in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One detector of the registry."""

    file: str
    """File name beside the registry and in the cache."""
    sha256: str
    """Of the file, hexadecimal."""
    bytes: int
    """Size of the file."""
    url: str = ""
    """Where to fetch it; empty for one that only comes with the package."""
    licence: str = ""
    """Of the weights."""
    image_px: int = 224
    """Side of the square input."""
    t_fake: float = 0.5
    """Fake at `score >= t_fake`; the file's own metadata decides, this is for readers."""
    t_real: float = 0.5
    """Real at `score < t_real`; as above."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Registry:
    """The detectors that can be called by name."""

    default: str
    """Name of the one that is used when none is asked for."""
    entries: dict[str, Entry]
    """By name."""
    folder: Path
    """Where the registry lies, and the files that came with it."""


def registry(folder: Path | None = None) -> Registry:
    """Read the registry.

    Args:
        folder: where registry.toml lies; None takes the package's own.

    Raises:
        WeightsError: there is none, or it cannot be read.
    """
    folder = folder or _home()
    path = folder / "registry.toml"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise WeightsError(f"{path}: the registry of detectors cannot be read ({e})") from e
    default = str(tables.pop("default", ""))
    entries = {name: from_dict(Entry, table, f"{path}: {name}") for name, table in tables.items()}
    if default not in entries:
        raise WeightsError(f"{path}: default {default!r} is not one of {', '.join(entries)}")
    return Registry(default=default, entries=entries, folder=folder)


def resolve(
    model: str | Path | None = None,
    *,
    offline: bool = False,
    progress: Progress | None = None,
    known: Registry | None = None,
) -> Path:
    """The file of a detector, fetched if it must be.

    Args:
        model: a name in the registry, or a file; None takes the default detector. A name wins
            over a file that is called the same: write ./name for the file.
        offline: never fetch.
        progress: called while fetching.
        known: None takes the package's registry.

    Raises:
        WeightsError: neither a known name nor a file, or it cannot be fetched.
        ChecksumError: the file is not the one that the registry means.
    """
    if isinstance(model, Path) or (model is not None and _is_file(model)):
        return _no_folder(Path(model))
    known = known or registry()
    name = model or known.default
    entry = known.entries.get(name)
    if entry is None:
        if Path(name).exists():
            return _no_folder(Path(name))
        raise WeightsError(
            f"{name}: no such model file; known names: {', '.join(sorted(known.entries))}"
        )
    shipped = known.folder / entry.file
    if shipped.is_file():
        _verify(shipped, entry)
        return shipped
    return _cached(name, entry, offline, progress)


def _no_folder(path: Path) -> Path:
    if path.is_dir():
        raise WeightsError(
            f"{path}: a folder, not a detector; a training run is exported first: "
            f"fakescan export {path} --out model.onnx"
        )
    return path


def cache_folder() -> Path:
    """Where fetched detectors are kept: FAKESCAN_CACHE_DIR, or the system's place for caches."""
    if chosen := os.environ.get("FAKESCAN_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "fakescan"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fakescan"
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "fakescan"


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _home() -> Path:
    package = Path(__file__).parent
    inside = package / "_weights"  # in an installed wheel; in a checkout it lies beside the package
    return inside if inside.is_dir() else package.parent / "weights"


def _is_file(model: str) -> bool:
    """True for what can only be meant as a file; a bare word is a name first."""
    return model.endswith(SUFFIX) or Path(model).name != model


def _verify(path: Path, entry: Entry) -> None:
    found = sha256_of(path)
    if found != entry.sha256:
        raise ChecksumError(
            f"{path}: sha256 {found[:12]}, expected {entry.sha256[:12]}: "
            "the file is damaged; install fakescan again"
        )


def _cached(name: str, entry: Entry, offline: bool, progress: Progress | None) -> Path:
    path = cache_folder() / "weights" / entry.file
    if path.is_file() and sha256_of(path) == entry.sha256:
        return path
    if offline:
        raise WeightsError(
            f"{name}: not on this machine, and --offline forbids fetching it; "
            f"run once without --offline, or put the file at {path}"
        )
    if not entry.url:
        raise WeightsError(f"{name}: not on this machine, and the registry has no URL for it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(entry, path, progress or (lambda _done, _total: None))
    except (OSError, HTTPException) as e:  # URLError is an OSError
        if isinstance(e, urllib.error.HTTPError):
            e.close()  # it is the server's answer too
        reason = getattr(e, "reason", None) or e
        raise WeightsError(f"{name}: cannot be fetched from {entry.url} ({reason})") from e
    return path


def _fetch(entry: Entry, path: Path, progress: Progress) -> None:
    """Download beside the place, verify, then move there, so that no half file is ever met."""
    with (
        urllib.request.urlopen(entry.url, timeout=TIMEOUT_S) as answer,
        tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as part,
    ):
        partial = Path(part.name)
        try:
            found = _copy(answer, part, entry, progress)
            part.close()
            if found != entry.sha256:
                raise ChecksumError(
                    f"{entry.url}: sha256 {found[:12]}, expected {entry.sha256[:12]}: "
                    "not the file that the registry means"
                )
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _copy(answer: IO[bytes], part: IO[bytes], entry: Entry, progress: Progress) -> str:
    """Copy what the server sends, at most one byte more than expected; gives its sha256."""
    digest, done = hashlib.sha256(), 0
    while done <= entry.bytes and (chunk := answer.read(CHUNK_BYTES)):
        part.write(chunk)
        digest.update(chunk)
        done += len(chunk)
        progress(done, entry.bytes)
    return digest.hexdigest()
