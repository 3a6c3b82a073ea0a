"""A folder that knows generators: one manifest, and the files that it names. Torch-free.

    manifest.json                   all that is known; replaced as a whole, after everything else
    adapters/task_000.safetensors   one a task, written once and never again
    states/0002/head.safetensors    the classifier of the present state
    states/0002/memory.jsonl        exemplars, one a line
    states/0002/tokens.safetensors  their trunk tokens, with memory mode `tokens`
    copies/SHA256.jpg               their files, with memory mode `copies`
    attributor.onnx                 what `fakescan attribute export` wrote

Whoever is stopped at any point leaves the old manifest, with all that it names, or the new one.
Every file has its sha256 in the manifest. Names that lead out of the folder are refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fakescan.attribute.answer import ClassRecord, Rules
from fakescan.attribute.design import Design
from fakescan.attribute.settings import MemoryMode
from fakescan.config import from_dict, to_dict
from fakescan.errors import AttributorError, ConfigError
from fakescan.image import Preprocess
from fakescan.metadata import BackboneInfo

MANIFEST = "manifest.json"
EXPORTED = "attributor.onnx"
FORMAT_VERSION = 1
MAX_MANIFEST_BYTES = 10_000_000
ALLOWED = re.compile(
    r"adapters/task_\d{3,6}\.safetensors"
    r"|states/\d{4,8}/(head\.safetensors|memory\.jsonl|tokens\.safetensors)"
)
COPIED = re.compile(r"copies/[0-9a-f]{64}(\.[A-Za-z0-9]{1,5})?")
"""What files of a bundle may be called."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """One file of the bundle."""

    path: str
    """Below the bundle's folder, with `/`."""
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRecord:
    """One task that was learnt."""

    name: str
    adapter: Stored
    images: int
    """New ones, held-out ones among them."""
    exemplars: int
    """Old ones that were learnt from again."""
    seconds: float
    epochs: int
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What is kept of old images."""

    mode: MemoryMode = "tokens"
    limit: int = 0
    """M, exemplars kept in all."""
    index: Stored | None = None
    tokens: Stored | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """All that a bundle says of itself."""

    format_version: int = FORMAT_VERSION
    version: str
    """Of the fakescan that wrote it."""
    design: Design
    backbone: BackboneInfo
    """Of the tower as it is used; another one is refused."""
    backbone_name: str
    """As `--backbone` took it."""
    backbone_weights: Path | None = None
    """Where its weights were."""
    preprocess: Preprocess = field(default_factory=Preprocess)
    state: int = 0
    """Grows with every change."""
    next_task: int = 0
    """Number of the next adapter file; none is used twice."""
    tasks: tuple[TaskRecord, ...] = ()
    classes: tuple[ClassRecord, ...] = ()
    """By the classifier's row."""
    head: Stored | None = None
    memory: Memory = field(default_factory=Memory)
    rules: Rules = field(default_factory=Rules)

    def files(self) -> Iterator[Stored]:
        """Every file that the manifest names."""
        yield from (task.adapter for task in self.tasks)
        yield from (s for s in (self.head, self.memory.index, self.memory.tokens) if s is not None)

    def digest(self) -> str:
        """sha256 of what decides answers, to tell an export that is out of date."""
        told = {"state": self.state, "files": [s.sha256 for s in self.files()]}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle, checked; no other file is opened.

    Raises:
        AttributorError: no bundle, damaged, of a newer format, or naming files elsewhere.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise AttributorError(f"{path}: too large for a manifest")
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values["format_version"]
    except (FileNotFoundError, NotADirectoryError) as e:
        raise AttributorError(
            f"{folder}: no attributor; `fakescan attribute init` makes one"
        ) from e
    except OSError as e:
        raise AttributorError(f"{path}: cannot be read ({e.strerror})") from e
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise AttributorError(f"{path}: damaged; not a manifest of `fakescan attribute`") from e
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise AttributorError(
            f"{path}: format {version!r}; this fakescan reads up to {FORMAT_VERSION}: "
            "update fakescan"
        )
    try:
        manifest = from_dict(Manifest, values, str(path))
    except ConfigError as e:
        raise AttributorError(str(e)) from e
    _check(manifest, path)
    return manifest


def _check(manifest: Manifest, path: Path) -> None:
    for stored in manifest.files():
        if not ALLOWED.fullmatch(stored.path):
            raise AttributorError(f"{path}: names {stored.path!r}, which no file of it is called")
    names = [task.name for task in manifest.tasks]
    known = {c.task for c in manifest.classes}
    if len(set(names)) != len(names) or known != set(names):
        raise AttributorError(f"{path}: its classes and its tasks do not belong together")
    if bool(names) != (manifest.head is not None):
        raise AttributorError(f"{path}: tasks without a classifier, or a classifier without tasks")
    if not 0 < manifest.rules.temperature < float("inf"):
        raise AttributorError(f"{path}: its temperature is {manifest.rules.temperature}")


def checked(folder: Path, stored: Stored) -> bytes:
    """The bytes of a file, if they are those that the manifest means.

    Raises:
        AttributorError: gone, or changed.
    """
    path = folder / stored.path
    try:
        data = path.read_bytes() if path.stat().st_size == stored.bytes else b""
    except OSError as e:
        raise AttributorError(f"{path}: cannot be read ({e.strerror})") from e
    if len(data) != stored.bytes or hashlib.sha256(data).hexdigest() != stored.sha256:
        raise AttributorError(
            f"{path}: damaged or replaced; it is not the file that {MANIFEST} means"
        )
    return data


def write_file(folder: Path, name: str, data: bytes) -> Stored:
    """Put a file into the bundle, whole and on the disk; not yet named by the manifest."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, data)
    return Stored(path=name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make a new state the present one: the one step that counts."""
    text = json.dumps(to_dict(manifest), indent=1, sort_keys=True)
    _replace(folder / MANIFEST, text.encode())


def clean(folder: Path, manifest: Manifest) -> None:
    """Remove what no manifest names any more: old states, and leftovers of a stopped run."""
    named = {(folder / stored.path).resolve() for stored in manifest.files()}
    for path in sorted((folder / "states").glob("*/*")):
        if path.resolve() not in named:
            path.unlink()
    for state in sorted((folder / "states").glob("*")):
        if not any(state.iterdir()):
            state.rmdir()
    for path in sorted((folder / "adapters").glob("*")):
        if path.resolve() not in named:
            path.unlink()
    for path in folder.glob(f".{MANIFEST}.*"):
        path.unlink()


def create(folder: Path, manifest: Manifest) -> None:
    """Make a bundle that knows nothing yet.

    Raises:
        ConfigError: the folder holds something, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder}: not empty; an attributor needs a new folder")
        write_manifest(folder, manifest)
    except OSError as e:
        raise ConfigError(f"{folder}: cannot be written ({e.strerror})") from e


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Held while a bundle is changed; a second process is told so.

    Raises:
        ConfigError: another process is changing it, or it cannot be written.
    """
    try:
        stream = (folder / "lock").open("a")
    except OSError as e:
        raise ConfigError(f"{folder}: cannot be written ({e.strerror})") from e
    with stream:
        try:
            _lock(stream)
        except OSError as e:
            raise ConfigError(f"{folder}: another process is changing it; wait for it") from e
        yield


def _lock(stream: IO[str]) -> None:
    """Until the file is closed, or the process ends in whatever way."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def free_bytes(folder: Path) -> int:
    """Room on the disk."""
    return shutil.disk_usage(folder).free
