"""Samples -> what a loop needs: trunks at hand, unreadable images out, weighted units."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fakescan import weights
from fakescan.data.groups import Split
from fakescan.data.samples import Sample, require_both_classes
from fakescan.train.cached import CachedTrunks
from fakescan.train.parallel import Processes
from fakescan.train.sampling import Strata, stratify
from fakescan.train.settings import CacheConfig
from fakescan.train.start import Start
from fakescan.train.trunk import TrunkMaker
from fakescan.train.trunks import Draw, PlainTrunks, Trunks
from fakescan.train.validate import Validator, main_samples, squares
from fakescan.train.views import ViewPool


class Listener(Protocol):
    """Hears of a run while it goes on."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """So much of a stage (`shards`, `trunk`, `train`) is done."""
        ...

    def note(self, text: str) -> None:
        """Something to tell the person who started it."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything but the model."""

    samples: list[Sample]
    """Training samples first, unreadable ones included; indices below point here."""
    in_train: list[int]
    held_out: list[int]
    unreadable: dict[int, str]
    trunks: Trunks
    strata: Strata
    validator: Validator | None

    def digest(self) -> str:
        """sha256 of which images are trained on, in which units."""
        found = hashlib.sha256()
        for kind in self.strata.units:
            found.update(b"\1")
            for unit in kind:
                for i in unit.samples:
                    found.update(self.samples[i].key.encode("utf-8", "surrogateescape") + b"\0")
        return found.hexdigest()


def prepare(
    begun: Start, split: Split, pool: ViewPool, processes: Processes, listener: Listener
) -> Prepared:
    """See to the trunks of all draws, each process to its share, then sort the samples.

    Raises:
        ConfigError: the cache does not fit or cannot be written.
        DatasetError: too few images can be read.
    """
    config = begun.config
    samples = [*split.train, *split.validation]
    trunks = _trunks(begun, samples, pool, processes)
    unreadable = trunks.prepare(
        _draws(samples, len(split.train), begun),
        lambda done, total: listener.progress("trunk", done, total),
    )
    usable = [i for i in range(len(samples)) if i not in unreadable]
    in_train = [i for i in usable if i < len(split.train)]
    held_out = [i for i in usable if i >= len(split.train)]
    require_both_classes(
        [samples[i] for i in in_train], f"training data{_left_out(samples, unreadable)}"
    )
    return Prepared(
        samples=samples,
        in_train=in_train,
        held_out=held_out,
        unreadable=unreadable,
        trunks=trunks,
        strata=stratify(samples, in_train, config.source_cap, config.pair_weight),
        validator=_validator(begun, trunks, samples, held_out),
    )


def _left_out(samples: Sequence[Sample], unreadable: Mapping[int, str]) -> str:
    if not unreadable:
        return ""
    first = min(unreadable)
    return (
        f" without {len(unreadable)} unreadable images, such as {samples[first].place}"
        f" ({unreadable[first]})"
    )


def _trunks(
    begun: Start, samples: Sequence[Sample], pool: ViewPool, processes: Processes
) -> Trunks:
    cache = begun.config.cache
    maker = TrunkMaker(
        begun.model,
        begun.preprocess,
        split=cache.split,
        rounds=cache.enabled or cache.rounds,
        precision=begun.config.trunk_precision,
    )
    plain = PlainTrunks(maker, pool, samples, processes)
    if not cache.enabled:
        return plain
    return CachedTrunks(plain, cache_folder(cache), cache.max_gb, begun.model.tower.sha256())


def cache_folder(cache: CacheConfig) -> Path:
    """Where the stores of all trunks are, and the indexes of shards."""
    return cache.folder or weights.cache_folder() / "trunk"


def _draws(samples: Sequence[Sample], in_train: int, begun: Start) -> list[Draw]:
    """All draws that training and judging need."""
    train = [(i, number) for i in range(in_train) for number in begun.config.views]
    held_out = range(in_train, len(samples))
    corners = squares(begun.preprocess.crops)[1:]
    return [
        *train,
        *((i, number) for i in held_out for number in begun.config.validation_views),
        *((i, number) for i in main_samples(samples, held_out) for number in corners),
    ]


def _validator(
    begun: Start, trunks: Trunks, samples: Sequence[Sample], held_out: Sequence[int]
) -> Validator | None:
    if not held_out:
        return None
    require_both_classes([samples[i] for i in held_out], "validation data")
    return Validator(
        trunks,
        samples,
        held_out,
        config=begun.config,
        crops=begun.preprocess.crops,
    )
