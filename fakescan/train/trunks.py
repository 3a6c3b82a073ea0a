"""Where training gets its trunks from: computed again every time, or `fakescan.train.cached`.

Both give the same numbers for the same draws, so a run with a cache is the run without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fakescan.data.parts import read_ahead
from fakescan.data.samples import Sample
from fakescan.errors import DatasetError
from fakescan.model.detector import Trunk
from fakescan.train.parallel import Processes
from fakescan.train.trunk import Maker, Rows
from fakescan.train.views import ViewPool, view_job

Draw: TypeAlias = tuple[int, int]
"""Index of a sample, and the number of its draw."""
Unreadable: TypeAlias = dict[int, str]
"""Index of a sample -> why it cannot be read."""
Report: TypeAlias = Callable[[int, int], None]
"""Called with draws done and draws in all."""

ALONE = Processes()
CHUNK = {"cpu": 8, "cuda": 64}
"""Images that go to the trunk together."""


class Trunks(Protocol):
    """Gives the trunk of any draw."""

    def prepare(self, draws: Sequence[Draw], report: Report) -> Unreadable:
        """Make sure that these draws can be had, each process of a share of them.

        Gives the samples that cannot be read, the same in all processes.
        """
        ...

    def stream(self, batches: Iterable[Sequence[Draw]]) -> Iterator[Trunk]:
        """One trunk for every batch, in order, on the model's device."""
        ...

    def features(self, draws: Sequence[Draw]) -> NDArray[np.float32]:
        """What the head would read without experts, (n, F)."""
        ...


class PlainTrunks:
    """Decodes, draws and computes anew whenever asked."""

    def __init__(
        self,
        maker: Maker,
        pool: ViewPool,
        samples: Sequence[Sample],
        processes: Processes = ALONE,
    ) -> None:
        self.maker, self.pool, self.samples = maker, pool, samples
        self.processes = processes

    def prepare(self, draws: Sequence[Draw], report: Report) -> Unreadable:
        """Decode everything once."""
        share = self.share_of(draws)

        def decode() -> Unreadable:
            bad: Unreadable = {}
            for done, ((sample, _), crop) in enumerate(self._views(share), 1):
                if isinstance(crop, str):
                    bad[sample] = crop
                report(done, len(share))
            return bad

        return joined(self.processes.together(decode))

    def share_of(self, draws: Sequence[Draw]) -> Sequence[Draw]:
        """This process's share; images of a shard go to one process as far as may be, in order."""

        def place(draw: Draw) -> tuple[str, int]:
            part = self.samples[draw[0]].part
            return (part.shard, part.offset) if part else ("", 0)

        return self.processes.part_of(sorted(draws, key=place))

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
                    raise DatasetError(
                        f"{self.samples[sample].place}: {crop}, since training began"
                    )
                made.append(crop)
            yield self.maker.make(np.stack(made), whole=whole)

    def _views(self, draws: Sequence[Draw]) -> Iterator[tuple[Draw, NDArray[np.uint8] | str]]:
        read = read_ahead(draws, lambda draw: self.samples[draw[0]].part)
        jobs = (view_job(self.samples[i], number, data) for (i, number), data in read)
        for draw, made in zip(draws, self.pool.views(jobs), strict=True):
            yield draw, made.error if made.crop is None else made.crop


def chunks(draws: Sequence[Draw], size: int) -> list[Sequence[Draw]]:
    """Cut into pieces of `size`."""
    return [draws[i : i + size] for i in range(0, len(draws), size)]


def joined(parts: Iterable[Unreadable]) -> Unreadable:
    """What any process could not read."""
    return {sample: reason for part in parts for sample, reason in part.items()}
