"""Scan with Ray Data: reading and decoding in tasks, the detector in a pool of actors.

The driver is this process. It lists, looks up the cache, hands out what is not known in blocks,
and takes back rows in any order; keeping scores, judging and reporting are done here as in a
local scan. A block whose worker or actor dies is done again by Ray, and only its result counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fakescan.engines.work import (
    DONE,
    TODO,
    Done,
    LeftOut,
    Orders,
    ScoreTable,
    decode_table,
    table_of,
    values_of,
)
from fakescan.errors import ConfigError, ImageUnreadable
from fakescan.records import Finding, Summary
from fakescan.scan.baseline import Baseline
from fakescan.scan.cache import ScoreCache
from fakescan.scan.judge import Judge
from fakescan.scan.pipeline import ScanSettings, decoding_job
from fakescan.scan.recall import Recall, Visit
from fakescan.scan.remote import RemoteFile
from fakescan.scan.sources import Target
from fakescan.scan.worker import Job
from fakescan.session import OnnxSession

BLOCK = 128
"""Images of one task; what is done again when its worker dies."""
STORE_BYTES = 512_000_000
"""Of Ray's memory for objects, where fakescan starts Ray."""
DECODE_CPUS = 0.9
"""What a task asks of a machine's processors: less than one, so that as many tasks run at once as
there are cores (one more for every ten) though actors ask for something, too. With whole ones a
machine of N cores decoded on N - 1, and one of a single core waited for ever."""
ACTOR_CPUS = 0.01
"""What an actor asks of them: it waits for tasks most of the time, and the threads of both share
the cores as in a local scan."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RayEngine:
    """Scans on the cluster that RAY_ADDRESS names, or on a local one that it starts."""

    model: Path
    """The detector's file."""
    actors: int | None = None
    """Copies of the detector; None takes one for each GPU of the cluster, or machine without."""

    def scan(
        self,
        targets: Sequence[Target],
        session: OnnxSession,
        settings: ScanSettings,
        summary: Summary,
        baseline: Baseline | None = None,
        cache: ScoreCache | None = None,
    ) -> Generator[Finding, None, None]:
        """As `fakescan.scan.pipeline.scan`, but for the order of findings.

        Raises:
            ConfigError: Ray is not installed, or the settings ask for what it does not do.
        """
        check_settings(settings)
        actors = self.actors
        work = _Work(session, self.model, settings, actors, summary, baseline, cache)
        return work.findings(targets)


def check_settings(settings: ScanSettings) -> None:
    """Refuse what this engine does not do.

    Raises:
        ConfigError: naming it, and what does it.
    """
    if settings.archives is not None:
        raise ConfigError("--engine ray: does not open archives; split the scan with --shard")
    if settings.explain:
        raise ConfigError("--engine ray: draws no figures; explain a few images without it")
    if settings.attribute is not None:
        raise ConfigError("--engine ray: names no generators; scan what it flags with --attribute")
    _imported()


@dataclass(slots=True)
class _Work:
    """One scan with Ray."""

    session: OnnxSession
    model: Path
    settings: ScanSettings
    actors: int | None
    summary: Summary
    baseline: Baseline | None
    cache: ScoreCache | None

    def findings(self, targets: Sequence[Target]) -> Generator[Finding, None, None]:
        """Yield all findings, those that are known first."""
        started = time.perf_counter()
        has_hashes = self.settings.hashes or self.baseline is not None
        job = decoding_job(
            self.session, self.settings, has_hashes=has_hashes or self.cache is not None
        )
        try:
            with _ray(self.settings) as ray:
                found = self.summary.follow(self._found(targets, job, ray))
                if self.baseline is not None:
                    found = self.baseline.unknown(found, self.summary.skipped)
                for finding in self.summary.watch(found):
                    yield finding if has_hashes else replace(finding, sha256=None)
            self.summary.is_complete = True
        finally:
            self.summary.elapsed_s = time.perf_counter() - started

    def _found(self, targets: Sequence[Target], job: Job, ray: Any) -> Iterator[Finding]:
        settings, summary = self.settings, self.summary
        recall = Recall(self.cache, self.session, summary, job)
        judge = Judge(self.session.metadata, self.session.fingerprint, settings.threshold)
        blocks: list[Any] = []
        visits = recall.visits(settings.finder.find(targets, summary))
        yield from _handed_out(visits, blocks, judge, ray)
        if not blocks:
            return
        orders = Orders(job, settings.access, settings.selection.max_bytes)
        for rows in self._results(blocks, orders, ray):
            summary.skipped.update(row.reason for row in rows if isinstance(row, LeftOut))
            done = [row for row in rows if isinstance(row, Done)]
            recall.keep(
                (row.path, row.stamp, row.crop, row.logits) for row in done if row.crop is not None
            )
            for row in done:
                if row.crop is not None:
                    yield judge.scored(row.path, row.crop, row.logits[0], row.logits[1:])
                elif row.error is not None:
                    yield judge.failed(row.path, row.error)

    def _results(
        self, blocks: list[Any], orders: Orders, ray: Any
    ) -> Iterator[list[Done | LeftOut]]:
        """Yield what became of each block, as it comes."""
        is_gpu = self.session.device == "cuda"
        actors = min(len(blocks), self.actors or _places_for_actors(ray, is_gpu=is_gpu))
        model = ray.put(self.model.read_bytes())  # held until all is scored
        scored = (
            ray.data.from_arrow_refs(blocks)
            .map_batches(
                decode_table,
                batch_size=None,
                batch_format="pyarrow",
                fn_args=(orders,),
                num_cpus=DECODE_CPUS,
            )
            .map_batches(
                ScoreTable,
                batch_size=None,
                batch_format="pyarrow",
                fn_constructor_args=([model], self.session.device, self.session.chosen),
                compute=ray.data.ActorPoolStrategy(size=actors),
                num_cpus=ACTOR_CPUS,
                num_gpus=1 if is_gpu else None,
            )
        )
        for table in scored.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            yield values_of(DONE, table)


def _handed_out(
    visits: Iterator[Visit], blocks: list[Any], judge: Judge, ray: Any
) -> Iterator[Finding]:
    """Yield findings whose scores are known, and put all other visits into blocks."""
    todo: list[Visit] = []
    for visit in visits:
        if (known := visit.known) is not None:
            perturbed = tuple(known.perturbed.values())
            yield judge.scored(visit.path, known, known.logit, perturbed)
        elif isinstance(visit.source, RemoteFile) and visit.source.error is not None:
            yield judge.failed(visit.path, ImageUnreadable(visit.source.error))
        else:
            todo.append(visit)
        if len(todo) == BLOCK:
            blocks.append(ray.put(table_of(TODO, todo)))
            todo = []
    if todo:
        blocks.append(ray.put(table_of(TODO, todo)))


def _places_for_actors(ray: Any, *, is_gpu: bool) -> int:
    if is_gpu:
        return max(1, int(ray.cluster_resources().get("GPU", 1)))
    return max(1, sum(bool(node["Alive"]) for node in ray.nodes()))


@contextmanager
def _ray(settings: ScanSettings) -> Iterator[Any]:
    """Ray, started for this scan unless RAY_ADDRESS names a cluster or it runs already."""
    ray = _imported()
    ray.data.DataContext.get_current().enable_progress_bars = False
    if ray.is_initialized():
        yield ray
        return
    start = partial(ray.init, include_dashboard=False, log_to_driver=False, logging_level="error")
    if "RAY_ADDRESS" in os.environ:
        start()
    else:
        start(address="local", num_cpus=settings.decoders, object_store_memory=STORE_BYTES)
    try:
        yield ray
    finally:
        ray.shutdown()


def _imported() -> Any:
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")  # read when Ray Data is loaded
    try:
        import ray
        import ray.data
    except ImportError as e:
        raise ConfigError("--engine ray: needs more: pip install 'fakescan[ray]'") from e
    return ray
