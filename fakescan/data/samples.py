"""Labelled folders and manifests -> samples. Tar shards: `fakescan.data.shards`.

Folder layouts: `fakescan.data.layouts`. A manifest CSV has at least the columns path and label;
source, split, generator, family, pair and derived_from are used when present, others are ignored.
Nothing is opened here: an image that cannot be read is counted by whoever reads it.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from fakescan.data.layouts import LEAVES, Leaf, leaf_of, walk_labelled
from fakescan.errors import DatasetError
from fakescan.places.uri import shown

LABELS = {**LEAVES, "0": 0, "1": 1}
"""What a manifest's label column may say, in lower case."""
COLUMNS = ("source", "split", "generator", "family", "pair", "derived_from")
"""What a manifest may say of an image besides its label."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where the bytes of one image lie in a tar shard."""

    shard: str
    """A path or a URI."""
    offset: int
    size: int
    tag: str
    """Changes when the shard does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One labelled image that has not been opened."""

    path: Path
    """The file; in a shard, its name there."""
    key: str
    """Path relative to the data's root, with `/`; names the sample in caches and seeds."""
    label: int
    """0 real, 1 fake."""
    source: str
    """Where it came from; what validation holds out together."""
    split: str = ""
    generator: str = ""
    family: str = ""
    """Kind of generator, such as GAN or diffusion, where a manifest says so."""
    pair: str = ""
    """Shared by a real and the fake made from it; empty outside aligned pairs."""
    derived_from: str = ""
    """Key, or any other name, of the image it was made from."""
    part: Part | None = None
    """Where it lies, when it is no file of its own."""

    @property
    def place(self) -> str:
        """What a person finds it by."""
        if self.part is None:
            return str(self.path)
        return f"{shown(self.part.shard)}!/{self.path.as_posix()}"


def require_root(root: Path) -> None:
    """Refuse a data root that is not there.

    Raises:
        DatasetError: neither a folder nor a manifest.
    """
    if not (root.is_file() or root.is_dir()):
        raise DatasetError(f"{root}: no such folder or manifest")


def read_samples(root: Path, *, split: tuple[str, ...] | None = None) -> list[Sample]:
    """All samples of a tree or a manifest, sorted by key; nothing is opened.

    Args:
        root: a folder (its `manifest.csv` is used when there is one), or a manifest file.
        split: keep only samples of these splits: a manifest's column, or a folder's name.

    Raises:
        DatasetError: no such folder, a manifest that cannot be used, or no sample.
    """
    require_root(root)
    manifest = root if root.is_file() else root / "manifest.csv"
    samples = list(_from_manifest(manifest) if manifest.is_file() else _from_tree(root))
    if not samples:
        raise DatasetError(
            f"{root}: no labelled images; expected leaf folders 0_real/1_fake, real/fake, "
            "nature/ai or real/GENERATOR, or a manifest.csv with the columns path and label"
        )
    return of_splits(samples, split, str(root))


def of_splits(samples: Sequence[Sample], split: tuple[str, ...] | None, where: str) -> list[Sample]:
    """Samples of some splits, sorted by key.

    Args:
        samples: of one root.
        split: names of splits; None takes all.
        where: opens the message.

    Raises:
        DatasetError: there are none.
    """
    wanted = [s for s in samples if split is None or s.split in split]
    if not wanted:
        known = ", ".join(sorted({s.split for s in samples} - {""})) or "none"
        raise DatasetError(f"{where}: no sample of split {', '.join(split or ())}; known: {known}")
    return sorted(wanted, key=lambda s: s.key)


def require_both_classes(samples: Iterable[Sample], where: str) -> None:
    """Refuse data that nothing can be learnt from.

    Args:
        samples: any.
        where: opens the message, such as the folder's name.

    Raises:
        DatasetError: no reals, or no fakes.
    """
    labels = {s.label for s in samples}
    if labels != {0, 1}:
        found = "only reals" if labels == {0} else "only fakes" if labels == {1} else "no images"
        raise DatasetError(f"{where}: {found}; both real and fake images are needed")


def subsample(samples: Iterable[Sample], *, per_label: int, seed: int) -> list[Sample]:
    """At most `per_label` reals and as many fakes, sorted by key.

    A hash of key and seed decides, so that subsets are the same everywhere and a smaller one
    lies inside a larger one. Members of a pair are taken together.
    """
    ranked = shuffled(samples, seed)
    kept = [s for label in (0, 1) for s in [r for r in ranked if r.label == label][:per_label]]
    return sorted(kept, key=lambda s: s.key)


def shuffled(samples: Iterable[Sample], seed: int) -> list[Sample]:
    """In an order that a hash of key and seed decides, members of a pair side by side.

    The same samples come in the same order among any others, so that the first ones of a smaller
    number lie inside those of a larger one.
    """
    return sorted(samples, key=lambda s: (rank(s.pair or s.key, seed), s.key))


def rank(name: str, seed: int) -> bytes:
    """A hash that decides what is chosen, the same everywhere."""
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()


def _from_tree(root: Path) -> Iterator[Sample]:
    yield from (sample_at(path, leaf, root) for path, leaf in walk_labelled(root))


def sample_at(path: Path, leaf: Leaf, root: Path) -> Sample:
    """The sample of a file below a root, as its place labels it."""
    return Sample(
        path=path,
        key=path.relative_to(root).as_posix(),
        label=leaf.label,
        source=leaf.source,
        split=leaf.split,
        generator=leaf.generator,
    )


def _from_manifest(manifest: Path) -> Iterator[Sample]:
    met: set[str] = set()
    try:  # paths need not be UTF-8, and spreadsheets put a mark in front
        with manifest.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            rows = csv.DictReader(stream)
            _require_columns(rows.fieldnames or (), manifest)
            for row in rows:
                sample = _from_row(row, manifest, f"{manifest}, line {rows.line_num}")
                if sample.key in met:
                    raise DatasetError(
                        f"{manifest}, line {rows.line_num}: {sample.key!r} is there twice"
                    )
                met.add(sample.key)
                yield sample
    except (OSError, csv.Error) as e:
        raise DatasetError(f"{manifest}: not readable as a manifest ({e})") from e


def _require_columns(names: Sequence[str], manifest: Path) -> None:
    missing = {"path", "label"} - set(names)
    if missing:
        raise DatasetError(
            f"{manifest}: no column {' and '.join(sorted(missing))}; there are: {', '.join(names)}"
        )


def _from_row(row: dict[str, str], manifest: Path, where: str) -> Sample:
    values = {name: text or "" for name, text in row.items()}  # short rows hold None
    if not values["path"]:
        raise DatasetError(f"{where}: no path")
    sample = labelled(values, PurePosixPath(values["path"]), where)
    return replace(sample, path=manifest.parent / values["path"])


def labelled(values: Mapping[str, str], name: PurePosixPath, where: str) -> Sample:
    """The sample that columns describe.

    Args:
        values: at least `label`; the others of `COLUMNS` as far as they are there.
        name: becomes path and key; its folders say what columns do not.
        where: opens the message.

    Raises:
        DatasetError: the label is none.
    """
    label = LABELS.get(values["label"].strip().lower())
    if label is None:
        raise DatasetError(f"{where}: label {values['label']!r}; known: real, fake")
    leaf = leaf_of(name.parent.parts, label)
    return Sample(
        path=Path(name),
        key=name.as_posix(),
        label=label,
        source=values.get("source") or leaf.source,
        split=values.get("split") or leaf.split,
        generator=values.get("generator") or leaf.generator,
        family=values.get("family", ""),
        pair=values.get("pair", ""),
        derived_from=values.get("derived_from", ""),
    )
