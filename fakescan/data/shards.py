"""Tar shards in the WebDataset convention -> samples: every image is found, none is unpacked.

Members of one name up to its first dot belong together: `a/000017.jpg` is the image, and
`a/000017.json` says what it is, by the names of a manifest's columns: label (real, fake, 0 or 1),
source, split, generator, family, pair, derived_from. A label may also stand in `a/000017.cls`, or
be that of the folders in the name, `phones/0_real/000017.jpg`, so that a tar of a labelled folder
will do. Members of other kinds are passed over.

The library webdataset streams shards, and shuffles what passes by, so that what a process sees
depends on how many there are. Here images are looked up by their place instead, and a run is the
same on any number of processes; for that, headers are read once, and Python's tarfile is enough.

Source: webdataset 1.0, `tariterators.base_plus_ext`, for what belongs together.
"""

from __future__ import annotations

import glob
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from fakescan.data.layouts import LEAVES, SUFFIXES
from fakescan.data.parts import local_tag
from fakescan.data.samples import COLUMNS, Part, Sample, labelled
from fakescan.errors import DatasetError, PlaceError
from fakescan.places.access import Access, PlaceProblem
from fakescan.places.patient import buffered
from fakescan.places.pattern import MAGIC, find_objects, fixed_folder
from fakescan.places.store import store_of
from fakescan.places.uri import is_uri, shown, spread

TAR = ".tar"
BASE = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")
"""A member's name up to the first dot behind its folders, and what follows that dot."""
LABEL_BYTES = 1 << 20
"""Of a member that says what an image is, at most."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar."""

    place: str
    """A path or a URI."""
    tag: str
    """Changes when it does."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image in a shard, and what the shard says of it."""

    name: str
    offset: int
    size: int
    values: dict[str, str] = field(default_factory=dict)
    """Columns of a manifest, `label` among them."""


def is_shards(root: str) -> bool:
    """Whether training data are tar shards, rather than a folder or a manifest."""
    return is_uri(root) or root.lower().endswith(TAR)


def base_of(root: str) -> str:
    """The folder that a root of shards lies in, as far as no pattern begins."""
    if is_uri(root) and not root.lower().endswith(TAR):
        return root.rstrip("/")
    return fixed_folder(root)


def find_shards(root: str) -> list[Shard]:
    """The shards that a root names.

    Args:
        root: a tar, or a pattern of such (`a-{000..127}.tar`, `a-*.tar`), on this machine or in a
            store; or a folder of a store.

    Raises:
        DatasetError: one is missing, or there are none.
    """
    try:
        found = list(dict.fromkeys(_found(root)))
    except PlaceProblem as e:
        raise DatasetError(f"{shown(root)}: {e}") from e
    except PlaceError as e:
        raise DatasetError(str(e)) from e
    except OSError as e:
        raise DatasetError(f"{e.filename}: cannot be read ({e.strerror})") from e
    if not found:
        raise DatasetError(f"{shown(root)}: no tar shards")
    return found


def _found(root: str) -> Iterator[Shard]:
    if is_uri(root):
        for entry in find_objects(root, Access()):
            if entry.uri.lower().endswith(TAR):
                yield Shard(entry.uri, entry.tag or "")
        return
    for text in spread(root):
        names = sorted(glob.glob(text)) if MAGIC.search(text) else [text]  # noqa: PTH207  (any pattern)
        yield from (Shard(name, local_tag(Path(name))) for name in names)


def index_shard(shard: Shard) -> list[Image]:
    """Every image of a shard; only headers and labels are read, as far as its place allows.

    Raises:
        DatasetError: it cannot be read, is damaged, or an image has no label.
    """
    try:
        with _opened(shard.place) as stream:
            return list(_images(stream, shard))
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as e:
        why = " ".join(str(e).split())
        raise DatasetError(f"{shown(shard.place)}: not a tar, or a damaged one ({why})") from e
    except OSError as e:
        raise DatasetError(f"{shard.place}: cannot be read ({e.strerror or e})") from e
    except (PlaceProblem, PlaceError) as e:
        raise DatasetError(f"{shown(shard.place)}: {e}") from e


def samples_of(shards: Sequence[tuple[Shard, Sequence[Image]]], base: str) -> list[Sample]:
    """Samples of indexed shards. A key is the name in the shard, where no two shards share it.

    Args:
        shards: with their images.
        base: folder below which shards are told apart.

    Raises:
        DatasetError: a label is none, or a name is there twice in one shard.
    """
    names = Counter(image.name for _, images in shards for image in images)
    samples: dict[str, Sample] = {}
    for shard, images in shards:
        below = shard.place.removeprefix(base).lstrip("/")
        for image in images:
            key = image.name if names[image.name] == 1 else f"{below}/{image.name}"
            where = f"{shown(shard.place)}!/{image.name}"
            if key in samples:
                raise DatasetError(f"{where}: this name is there twice")
            samples[key] = _sample(shard, image, key, where)
    return list(samples.values())


def _sample(shard: Shard, image: Image, key: str, where: str) -> Sample:
    found = labelled(image.values, PurePosixPath(image.name), where)
    part = Part(shard.place, image.offset, image.size, shard.tag)
    values = {name: getattr(found, name) for name in ("path", "label", *COLUMNS)}
    return Sample(**values, key=key, part=part)


def _opened(place: str) -> IO[bytes]:
    return (
        buffered(store_of(place, Access()).open(place)) if is_uri(place) else Path(place).open("rb")
    )


@dataclass(slots=True)
class _Group:
    """Members that belong together."""

    images: list[tuple[str, int, int]] = field(default_factory=list)
    other: str = ""
    """Like an image, but with a dot before its suffix: `a.mask.png` beside `a.png`."""
    values: dict[str, str] = field(default_factory=dict)


def _images(stream: IO[bytes], shard: Shard) -> Iterator[Image]:
    groups: dict[str, _Group] = {}
    for name, info, archive in _members(stream):
        match = BASE.fullmatch(name)
        if match is None:
            continue
        group = groups.setdefault(match[1], _Group())
        kind = match[2].lower()
        if f".{kind}" in SUFFIXES:
            group.images.append((name, info.offset_data, info.size))
        elif PurePosixPath(kind).suffix in SUFFIXES:
            group.other = name
        elif kind in ("json", "cls"):
            where = f"{shown(shard.place)}!/{name}"
            group.values |= _labels(kind, _text(archive, info, where), where)
    for base, group in groups.items():
        yield from _image(f"{shown(shard.place)}!/{base}", group)


def _members(stream: IO[bytes]) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """Regular members whose names have no part that begins with a dot."""
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        while (info := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # it would remember all
            name = info.name.removeprefix("./")
            if info.isreg() and not info.issparse() and "/." not in f"/{name}":
                yield name, info, archive
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(
            tarfile.BLOCKSIZE
        ):  # tarfile takes it for an end
            raise tarfile.ReadError(f"it breaks off at byte {archive.offset}")


def _text(archive: tarfile.TarFile, info: tarfile.TarInfo, where: str) -> str:
    if info.size > LABEL_BYTES:
        raise DatasetError(f"{where}: {info.size} bytes, too large for a label")
    stream = archive.extractfile(info)
    assert stream is not None  # it is a regular member
    try:
        return stream.read().decode("utf-8")
    except UnicodeDecodeError as e:
        raise DatasetError(f"{where}: not UTF-8") from e


def _labels(kind: str, text: str, where: str) -> dict[str, str]:
    if kind == "cls":
        return {"label": text.strip()}
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise DatasetError(f"{where}: not JSON") from e
    if not isinstance(found, dict):
        raise DatasetError(f"{where}: expected an object with a label")
    return {name: str(found[name]) for name in ("label", *COLUMNS) if found.get(name) is not None}


def _image(where: str, group: _Group) -> Iterable[Image]:
    if not group.images and group.other:
        raise DatasetError(f"{where}: {group.other.rpartition('/')[2]} has a dot in its name")
    if not group.images:
        return ()
    if len(group.images) > 1:
        names = " and ".join(name.rpartition("/")[2] for name, _, _ in group.images)
        raise DatasetError(f"{where}: {names}, where one image is expected")
    name, offset, size = group.images[0]
    folders = [part.lower() for part in PurePosixPath(name).parent.parts]
    leaf = next((part for part in reversed(folders) if part in LEAVES), None)
    values = ({"label": leaf} if leaf else {}) | group.values
    if "label" not in values:
        raise DatasetError(f"{where}: no label; expected {where.rpartition('/')[2]}.json or .cls")
    return (Image(name, offset, size, values),)
