"""Trunks out of a store on disk, which the processes of a run fill together."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.data.samples import Sample
from fakescan.errors import ConfigError
from fakescan.model.detector import Trunk
from fakescan.train.store import Layout, RowStore
from fakescan.train.trunk import Rows, TrunkMaker
from fakescan.train.trunks import CHUNK, Draw, PlainTrunks, Report, Unreadable, joined
from fakescan.train.views import ViewRecipe

STORE_VERSION = 1
"""Grows when rows are computed or written otherwise."""
PATIENCE_S, PAUSE_S = 120.0, 1.0
"""How long rows that another machine has written may take to be seen here, and between looks.
NFS shows new files after a minute at most. Source: nfs(5), acdirmax."""


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
        """Compute and store what is missing, each process a share in a part of its own.

        Raises:
            ConfigError: the store cannot be written, or this process does not see all of it.
        """
        processes = self.plain.processes
        with ExitStack() as stack:  # what the first process reserves stays so until all are done
            bad, missing = processes.from_first(lambda: self._missing(draws, stack))
            if not missing:
                self.store.refresh()
                return bad
            share = self.plain.share_of(missing)
            known = sum(draw[0] not in bad for draw in draws) - len(missing)

            def tell(done: int) -> None:
                report(known + len(missing) * done // len(share), known + len(missing))

            bad |= joined(processes.together(lambda: self._extend(share, tell)))
        processes.together(lambda: self._await([d for d in missing if d[0] not in bad]))
        return bad

    def _missing(self, draws: Sequence[Draw], stack: ExitStack) -> tuple[Unreadable, list[Draw]]:
        """Samples that are not there, and draws that the store lacks; reserves it for them."""
        bad = {i: "cannot be opened" for i, _ in draws if not self._names[i]}
        missing = self._lacking([draw for draw in draws if draw[0] not in bad])
        if missing:
            self.store.check_space(len(missing), self.max_gb)
            stack.enter_context(self.store.reserved())
            missing = self._lacking(missing)
        return bad, missing

    def _extend(self, share: Sequence[Draw], tell: Callable[[int], None]) -> Unreadable:
        """Compute and store draws; gives the samples that cannot be read."""
        bad: Unreadable = {}
        done = 0
        rank, world = self.plain.processes.rank, self.plain.processes.world
        with self.store.extending(rank, world) as writer:
            for good, crops, failed in self._decoded(share):
                bad |= {sample: reason for (sample, _), reason in failed}
                if good:
                    rows = self.plain.maker.make(np.stack(crops))
                    writer.append([self._name(draw) for draw in good], _arrays(rows))
                done += len(good) + len(failed)
                tell(done)
        return bad

    def _await(self, draws: Sequence[Draw]) -> None:
        """Wait until this process sees the rows of all: network file systems take their time.

        Raises:
            ConfigError: it does not, so the folder is not one for all machines.
        """
        give_up = time.monotonic() + PATIENCE_S
        self.store.refresh()
        while lacking := self._lacking(draws):
            if time.monotonic() > give_up:
                raise ConfigError(
                    f"trunk cache {self.store.folder}: {len(lacking)} rows of other processes are "
                    "not there; choose a --cache-folder that all machines share, or --no-cache"
                )
            time.sleep(PAUSE_S)
            self.store.refresh()

    def _lacking(self, draws: Sequence[Draw]) -> list[Draw]:
        return [draw for draw in draws if self._name(draw) not in self.store.rows]

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
    if sample.part is not None:
        stamp = [sample.part.tag, str(sample.part.offset), str(sample.part.size)]
    else:
        try:
            found = sample.path.stat()
        except OSError:
            return ""
        stamp = [str(found.st_size), str(found.st_mtime_ns)]
    facts = [sample.key, sample.pair, *stamp]
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
