"""Where training gets its trunks from: the cache on disk, or computed again every time.

Both give the same numbers for the same draws, so a run with a cache is the run without one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.data.samples import Sample
from fakescan.errors import ConfigError, DatasetError
from fakescan.model.detector import Trunk
from fakescan.train.store import Layout, RowStore
from fakescan.train.trunk import Maker, Rows, TrunkMaker
from fakescan.train.views import ViewPool, ViewRecipe, view_job

Draw: TypeAlias = tuple[int, int]
"""Index of a sample, and the number of its draw."""
Unreadable: TypeAlias = dict[int, str]
"""Index of a sample -> why it cannot be read."""
Report: TypeAlias = Callable[[int, int], None]
"""Called with draws done and draws in all."""

STORE_VERSION = 1
"""Grows when rows are computed or written otherwise."""
CHUNK = {"cpu": 8, "cuda": 64}
"""Images that go to the trunk together."""


class Trunks(Protocol):
    """Gives the trunk of any draw."""

    def prepare(self, draws: Sequence[Draw], report: Report) -> Unreadable:
        """Make sure that these draws can be had; gives the samples that cannot be read."""
        ...

    def refresh(self) -> None:
        """Take in what another process has prepared."""
        ...

    def stream(self, batches: Iterable[Sequence[Draw]]) -> Iterator[Trunk]:
        """One trunk for every batch, in order, on the model's device."""
        ...

    def features(self, draws: Sequence[Draw]) -> NDArray[np.float32]:
        """What the head would read without experts, (n, F)."""
        ...


class PlainTrunks:
    """Decodes, draws and computes anew whenever asked."""

    def __init__(self, maker: Maker, pool: ViewPool, samples: Sequence[Sample]) -> None:
        self.maker, self.pool, self.samples = maker, pool, samples

    def prepare(self, draws: Sequence[Draw], report: Report) -> Unreadable:
        """Decode everything once."""
        bad: Unreadable = {}
        for done, ((sample, _), crop) in enumerate(self._views(draws), 1):
            if isinstance(crop, str):
                bad[sample] = crop
            report(done, len(draws))
        return bad

    def refresh(self) -> None:
        """Nothing is kept that could be out of date."""

    def stream(self, batches: Iterable[Sequence[Draw]]) -> Iterator[Trunk]:
        """See `Trunks.stream`."""
        for rows in self._rows(batches, whole=False):
            yield self.maker.trunk(rows)

    def features(self, draws: Sequence[Draw]) -> NDArray[np.float32]:
        """See `Trunks.features`."""
        made = self._rows(chunks(draws, CHUNK[self.maker.device.type]), whole=True)
        return np.concatenate([rows.features.cpu().numpy() for rows in made])

    def _rows(self, batches: Iterable[Sequence[Draw]], *, whole: bool) -> Iterator[Rows]:
        waiting = [list(batch) for batch in batches]
        crops = self._views([draw for batch in waiting for draw in batch])
        for batch in waiting:
            made = []
            for (sample, _), crop in islice(crops, len(batch)):
                if isinstance(crop, str):
                    raise DatasetError(f"{self.samples[sample].path}: {crop}, since training began")
                made.append(crop)
            yield self.maker.make(np.stack(made), whole=whole)

    def _views(self, draws: Sequence[Draw]) -> Iterator[tuple[Draw, NDArray[np.uint8] | str]]:
        jobs = (view_job(self.samples[i], number) for i, number in draws)
        for draw, made in zip(draws, self.pool.views(jobs), strict=True):
            yield draw, made.error if made.crop is None else made.crop


class CachedTrunks:
    """Reads rows from a store, which `prepare` fills."""

    def __init__(self, plain: PlainTrunks, folder: Path, max_gb: float, origin: str) -> None:
        """Open the store of this trunk, new or not.

        Args:
            plain: computes what the store lacks.
            folder: holds a folder for every trunk.
            max_gb: limit of this trunk's store.
            origin: sha256 of the backbone.
        """
        self.plain, self.max_gb = plain, max_gb
        assert isinstance(plain.maker, TrunkMaker)
        facts = _facts(plain.maker, plain.pool.recipe, origin)
        text = json.dumps(facts, sort_keys=True, default=str)
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.store = RowStore(folder / name, _layout(plain.maker), facts)
        self._names = [_identity(sample) for sample in plain.samples]

    def prepare(self, draws: Sequence[Draw], report: Report) -> Unreadable:
        """Compute and store what is missing."""
        bad = {i: "cannot be opened" for i, _ in draws if not self._names[i]}
        wanted = [draw for draw in draws if draw[0] not in bad]
        missing = [draw for draw in wanted if self._name(draw) not in self.store.rows]
        if not missing:
            return bad
        self.store.check_space(len(missing), self.max_gb)
        with self.store.extending() as writer:
            missing = [draw for draw in missing if self._name(draw) not in self.store.rows]
            done = len(wanted) - len(missing)
            for good, crops, failed in self._decoded(missing):
                bad |= {sample: reason for (sample, _), reason in failed}
                if good:
                    rows = self.plain.maker.make(np.stack(crops))
                    writer.append([self._name(draw) for draw in good], _arrays(rows))
                done += len(good) + len(failed)
                report(done, len(wanted))
        return bad

    def refresh(self) -> None:
        """See `Trunks.refresh`."""
        self.store.refresh()

    def stream(self, batches: Iterable[Sequence[Draw]]) -> Iterator[Trunk]:
        """See `Trunks.stream`."""
        device = self.plain.maker.device
        for batch in batches:
            at = [self.store.rows[self._name(draw)] for draw in batch]
            parts = [
                torch.from_numpy(self.store.read(name, at)).to(device)
                if self.store.has(name)
                else None
                for name in ("tokens.f16", "normed.f16", "features.f32")
            ]
            assert parts[2] is not None
            yield self.plain.maker.trunk(Rows(parts[0], parts[1], parts[2]))

    def features(self, draws: Sequence[Draw]) -> NDArray[np.float32]:
        """See `Trunks.features`."""
        at = [self.store.rows[self._name(draw)] for draw in draws]
        found: NDArray[np.float32] = self.store.read("features.f32", at)
        return found

    def _name(self, draw: Draw) -> str:
        return f"{self._names[draw[0]]}:{draw[1]}"

    def _decoded(
        self, draws: Sequence[Draw]
    ) -> Iterator[tuple[list[Draw], list[NDArray[np.uint8]], list[tuple[Draw, str]]]]:
        """Chunks of draws with their crops; those that failed apart, with the reason."""
        size = CHUNK[self.plain.maker.device.type]
        views = self.plain._views(draws)
        while part := list(islice(views, size)):
            good = [(draw, crop) for draw, crop in part if not isinstance(crop, str)]
            failed = [(draw, crop) for draw, crop in part if isinstance(crop, str)]
            yield [draw for draw, _ in good], [crop for _, crop in good], failed


def chunks(draws: Sequence[Draw], size: int) -> list[Sequence[Draw]]:
    """Cut into pieces of `size`."""
    return [draws[i : i + size] for i in range(0, len(draws), size)]


def _facts(maker: TrunkMaker, recipe: ViewRecipe, origin: str) -> dict[str, Any]:
    """All that a row's numbers depend on besides the sample and the draw's number."""
    return {
        "version": STORE_VERSION,
        "backbone": origin,
        "depth": maker.model.depth,
        "first_adapted": maker.model.first_adapted,
        "split": maker.split,
        "head": maker.model.config.head,
        "levels": maker.model.config.levels,
        "precision": maker.precision,
        "preprocess": asdict(recipe.preprocess),
        "augmentation": asdict(recipe.augmentation),
        "degradation": asdict(recipe.degradation),
        "draw_seed": recipe.seed,
    }


def _layout(maker: TrunkMaker) -> Layout:
    tower = maker.model.tower.config
    tokens = (tower.tokens, tower.width) if maker.model.experts else None
    return Layout(tokens, maker.split, len(maker.model.head.weight))


def _identity(sample: Sample) -> str:
    """Names one file's content wherever its root lies; empty when the file is not there."""
    try:
        found = sample.path.stat()
    except OSError:
        return ""
    facts = [sample.key, sample.pair, str(found.st_size), str(found.st_mtime_ns)]
    text = "\0".join(facts).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:32]


def _arrays(rows: Rows) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {"features.f32": rows.features.cpu().numpy()}
    for name, values in (("tokens.f16", rows.tokens), ("normed.f16", rows.normed)):
        if values is not None:
            if not bool(torch.isfinite(values).all()):
                raise ConfigError(
                    "trunk cache: this backbone's tokens exceed the range of fp16; "
                    "train with --no-cache and cache.rounds = false"
                )
            found[name] = values.cpu().numpy()
    return found
