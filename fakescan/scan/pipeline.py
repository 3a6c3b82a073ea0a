"""The chain of a scan: walk -> decode ahead -> score in batches -> findings, as they come."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

from fakescan.errors import ConfigError, ImageUnreadable
from fakescan.image import Decoding, Limits
from fakescan.machine import usable_cores
from fakescan.perturb import canonical
from fakescan.places.access import Access
from fakescan.provenance.read import Depth
from fakescan.records import Finding, Shard, Summary, Verdict
from fakescan.scan.ahead import Decoded, Room, decode_ahead
from fakescan.scan.archive import ArchiveLimits, Member
from fakescan.scan.baseline import Baseline
from fakescan.scan.cache import ScoreCache
from fakescan.scan.crop import Crop, Extras
from fakescan.scan.decode import Children
from fakescan.scan.fetch import fetched
from fakescan.scan.judge import Judge, band_at
from fakescan.scan.recall import Recall, Visit
from fakescan.scan.selection import Selection
from fakescan.scan.sources import Finder, Target, is_path
from fakescan.scan.worker import Job
from fakescan.session import OnnxSession

GPU_BATCH = 32
"""Enough to fill a GPU; on the CPU images are scored one by one anyway."""
MEMBERS_AHEAD_BYTES = 512_000_000
"""Images out of archives that wait to be decoded, at most."""
Name = Callable[[Finding, Crop], Finding]
"""Puts the generator of an image into its finding."""
EXPLAINED = tuple(verdict.value for verdict in Verdict if verdict is not Verdict.ERROR)
"""Verdicts that can be explained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanSettings:
    """How a scan runs."""

    threshold: float | None = None
    """Score from which an image is fake, and below which it is real; None takes the detector's
    own two thresholds."""
    batch_size: int | None = None
    """Images scored together; None takes 1 on the CPU and 32 on a GPU."""
    workers: int | None = None
    """Processes that decode; None takes one per core."""
    timeout_s: float = 60.0
    """Seconds that decoding one image may take, and as many for taking it out of an archive."""
    max_megapixels: float = 250.0
    """Millions of pixels from which an image is refused."""
    decoding: Decoding = "exact"
    """Whether large JPEGs may be scaled while they are decoded; never under perturbations."""
    selection: Selection = field(default_factory=Selection)
    """What to take of the files that are met in folders."""
    archives: ArchiveLimits | None = None
    """How much to take out of archives; None does not look into them."""
    hashes: bool = False
    """Findings carry the sha256 of their file."""
    thumbnails: bool = False
    """Findings carry a small picture."""
    provenance: Depth = "brief"
    """Findings carry what their file says of its origin."""
    perturbations: tuple[str, ...] = ()
    """Degradations under which every image is scored, too, such as jpeg:75; kept as
    `fakescan.perturb.canonical` writes them."""
    access: Access = field(default_factory=Access)
    """How stores are asked for objects."""
    shard: Shard | None = None
    """The part of the scan that this one does; None does all."""
    explain: tuple[str, ...] = ()
    """Verdicts whose findings carry a figure that explains the score: real, uncertain, fake."""
    attribute: Name | None = None
    """Puts the generator of an image into its finding; None: nothing does."""

    def __post_init__(self) -> None:
        if self.threshold is not None:
            band_at(self.threshold)
        object.__setattr__(self, "perturbations", canonical(self.perturbations))
        if self.perturbations:
            object.__setattr__(self, "decoding", "exact")
        for verdict in self.explain:
            if verdict not in EXPLAINED:
                raise ConfigError(f"explain: {verdict!r}; known: {', '.join(EXPLAINED)}")
        for name in ("batch_size", "workers", "timeout_s", "max_megapixels"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}: must be positive, got {value}")

    def batch_on(self, device: Literal["cpu", "cuda"]) -> int:
        """Images scored together, where the detector runs."""
        return self.batch_size or (GPU_BATCH if device == "cuda" else 1)

    @property
    def finder(self) -> Finder:
        """What to take of what targets name."""
        return Finder(
            selection=self.selection,
            archives=self.archives,
            access=self.access,
            shard=self.shard,
            timeout_s=self.timeout_s,
        )

    @property
    def decoders(self) -> int:
        """Processes that decode."""
        return self.workers or usable_cores()


def scan(
    targets: Sequence[Target],
    session: OnnxSession,
    settings: ScanSettings,
    summary: Summary,
    baseline: Baseline | None = None,
    cache: ScoreCache | None = None,
) -> Generator[Finding, None, None]:
    """Score every image among the targets; a file that cannot be scored is a finding too.

    Closing the iterator early ends the child processes.

    Args:
        targets: files and folders, URIs, and lists of them; what does not exist is a finding,
            too. See `fakescan.scan.walk.check`.
        session: the detector.
        settings: how to scan.
        summary: counts what passes; complete once the iterator has run out.
        baseline: findings that are known, and not yielded.
        cache: of `fakescan.scan.recall.scorer_of(session, settings.decoding)`; None computes
            every score.
    """
    return _scan(targets, session, settings, summary, baseline, cache)


def _scan(
    targets: Sequence[Target],
    session: OnnxSession,
    settings: ScanSettings,
    summary: Summary,
    baseline: Baseline | None,
    cache: ScoreCache | None,
) -> Generator[Finding, None, None]:
    started = time.perf_counter()
    batch, workers = settings.batch_on(session.device), settings.decoders
    judge = Judge(session.metadata, session.fingerprint, settings.threshold)
    has_hashes = settings.hashes or baseline is not None
    job = decoding_job(session, settings, has_hashes=has_hashes or cache is not None)
    recall = Recall(cache, session, summary, job)
    try:
        with Children(job) as children:
            visits = recall.visits(settings.finder.find(targets, summary))
            if not all(map(is_path, targets)):
                visits = _fetched(visits, settings, summary.skipped)
            ahead = batch + 2 * workers
            with closing(decoded(visits, children, workers, ahead)) as crops:
                explained = _explained(session, settings.explain, baseline)
                if settings.attribute is not None:
                    explained = _named(settings.attribute, explained)
                findings = _score(crops, recall, judge, batch, explained)
                if not has_hashes and cache is not None:
                    findings = (replace(f, sha256=None) for f in findings)
                findings = summary.follow(findings)
                if baseline is not None:
                    findings = baseline.unknown(findings, summary.skipped)
                yield from summary.watch(findings)
        summary.is_complete = True
    finally:
        summary.elapsed_s = time.perf_counter() - started


def decoding_job(session: OnnxSession, settings: ScanSettings, *, has_hashes: bool) -> Job:
    """What the decoders of such a scan are asked for."""
    return Job(
        preprocess=session.metadata.preprocess,
        limits=Limits(
            max_megapixels=settings.max_megapixels,
            max_megabytes=settings.selection.max_filesize,
        ),
        timeout_s=settings.timeout_s,
        decoding=settings.decoding,
        extras=Extras(
            hashes=has_hashes,
            thumbnails=settings.thumbnails,
            provenance=settings.provenance,
            perturbations=settings.perturbations,
            frames=bool(settings.explain),
            squares=settings.attribute is not None,
        ),
    )


def _fetched(
    visits: Iterator[Visit], settings: ScanSettings, skipped: Counter[str]
) -> Iterator[Visit]:
    """Visits whose objects are read from their stores."""
    limit = settings.selection.max_bytes
    return fetched(visits, lambda visit: visit.remote, settings.access, skipped, limit)


def decoded(
    visits: Iterator[Visit], children: Children, workers: int, ahead: int
) -> Generator[Decoded[Visit, Crop], None, None]:
    """Yield visits in order, decoded unless their score is known.

    Args:
        visits: whose objects have been read.
        children: decode them.
        workers: at once.
        ahead: visits that are held.
    """
    room = Room(MEMBERS_AHEAD_BYTES)

    def admitted() -> Iterator[Visit]:
        for visit in visits:
            if isinstance(visit.source, Member):
                room.enter(len(visit.source.data))
            yield visit

    def decode(visit: Visit) -> Crop:
        source = visit.source
        if isinstance(source, str):
            return children.decode(source)
        if source.error is not None:
            raise ImageUnreadable(source.error)
        data, source.data = source.data, b""
        try:
            return children.decode(data)
        finally:
            room.leave(len(data))

    return decode_ahead(
        admitted(),
        decode,
        workers=workers,
        ahead=ahead,
        is_ready=lambda visit: visit.known is not None,
    )


def _score(
    decoded: Iterator[Decoded[Visit, Crop]],
    recall: Recall,
    judge: Judge,
    batch: int,
    explained: Callable[[Finding, Crop], Finding],
) -> Iterator[Finding]:
    while group := list(islice(decoded, batch)):
        seen = [(d.item, d.pixels) for d in group if d.pixels is not None]
        logits = iter(recall.logits(seen) if seen else [])
        for d in group:
            path = d.item.path
            if d.error is not None:
                yield judge.failed(path, d.error)
            elif d.pixels is not None:
                logit, *perturbed = next(logits)
                finding = judge.scored(path, d.pixels, logit, perturbed)
                yield explained(finding, d.pixels)
            elif (known := d.item.known) is not None:
                yield judge.scored(path, known, known.logit, tuple(known.perturbed.values()))


def _named(name: Name, explained: Name) -> Name:
    """Both, the generator first, so that a figure could show it."""
    return lambda finding, crop: explained(name(finding, crop), crop)


def _explained(
    session: OnnxSession, verdicts: tuple[str, ...], baseline: Baseline | None
) -> Callable[[Finding, Crop], Finding]:
    """What gives a finding its figure, if it is to have one."""

    def explained(finding: Finding, crop: Crop) -> Finding:
        is_known = baseline is not None and baseline.knows(finding)
        if crop.frame is None or is_known or finding.verdict.value not in verdicts:
            return finding
        from fakescan.explain.explanation import explain  # here: most scans do without
        from fakescan.explain.figure import figure

        explanation = explain(session, crop.pixels)
        return replace(finding, figure=figure(finding, crop.pixels[0], crop.frame, explanation))

    return explained
