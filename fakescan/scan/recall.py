"""What a scan need not do again: the cache between the walk, the decoders and the detector.

Asked twice: before decoding, by path, size and time, which saves reading the file; and before
scoring, by content, which saves the score of a file that was moved, copied or touched, of images
in archives, and of any file when a report wants thumbnails. Thumbnails are not kept: at 3 kB each
they would make the cache ten times as large, and to make them anew is cheap: 60 photos took 26.3 s
to score, 0.5 s to decode again, both on 2 busy cores.

A cache that fails is given up, with a warning, and the scan goes on without it.
"""

from __future__ import annotations

import json
import math
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from fakescan.errors import CacheError
from fakescan.image import Decoding, needed_px
from fakescan.perturb import PLAIN
from fakescan.places.uri import is_uri
from fakescan.provenance.signal import to_text
from fakescan.records import Summary, mean_logits
from fakescan.scan.archive import Member
from fakescan.scan.cache import Known, ScoreCache, Scorer, Stamp
from fakescan.scan.crop import Crop
from fakescan.scan.remote import RemoteFile
from fakescan.scan.worker import Job
from fakescan.session import OnnxSession

T = TypeVar("T")

DECODING = 1
"""Grows when the same file would give other pixels than before, perturbed or not."""
LOOK_UP = 256
"""Files asked for at once."""
SETTLED_NS = 2_000_000_000
"""Age from which a file's time shows every later change; FAT counts in steps of 2 seconds."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One image on its way through a scan."""

    source: str | Member
    """The path of a file, or an image in an archive."""
    stamp: Stamp | None = None
    """Of the file, before it is read; None when it cannot be read."""
    known: Known | None = None
    """Its score, when nothing has to be done for it."""

    @property
    def path(self) -> str:
        """As a report shows it."""
        return self.source if isinstance(self.source, str) else self.source.path

    @property
    def remote(self) -> RemoteFile | None:
        """What must be read from a store before it can be decoded."""
        source = self.source
        is_wanted = isinstance(source, RemoteFile) and self.known is None and source.error is None
        return source if isinstance(source, RemoteFile) and is_wanted else None


def scorer_of(session: OnnxSession, decoding: Decoding = "exact") -> Scorer:
    """What the scores of a session depend on."""
    preprocess = session.metadata.preprocess
    preprocessing = {"decoding": DECODING, **asdict(preprocess)}
    if (short_px := needed_px(preprocess, decoding)) is not None:
        preprocessing["short_px"] = short_px
    return Scorer(
        name=session.metadata.name,
        detector=session.sha256,
        preprocessing=json.dumps(preprocessing, sort_keys=True),
        device=session.device if not session.is_fast else f"{session.device} {session.arithmetic}",
    )


class Recall:
    """Gives logits, each content's once."""

    def __init__(
        self, cache: ScoreCache | None, session: OnnxSession, summary: Summary, job: Job
    ) -> None:
        """Fix what to ask, and whom.

        Args:
            cache: of the session's scorer; None computes everything.
            session: gives the logits that are not known.
            summary: counts what the cache saved, and takes the warning when it fails.
            job: of the decoders: limits, beyond which an image is decoded and refused there; and
                what is wanted besides a score, of which the cache keeps what a brief look at the
                metadata finds, and logits under perturbations.
        """
        self._cache = cache
        self._session = session
        self._summary = summary
        self._limits = job.limits
        self._provenance = job.extras.provenance
        self._perturbations = job.extras.perturbations
        self._is_reading = (
            job.extras.thumbnails
            or job.extras.frames
            or job.extras.squares
            or job.extras.provenance == "full"
        )

    def visits(self, sources: Iterable[str | Member]) -> Iterator[Visit]:
        """Yield every source, in order, with what is known of it."""
        if self._cache is None:
            yield from map(Visit, sources)
            return
        files: list[str | RemoteFile] = []
        for source in sources:
            is_stamped = isinstance(source, str | RemoteFile)
            if isinstance(source, str | RemoteFile):
                files.append(source)
            if len(files) >= LOOK_UP or not is_stamped:
                yield from self._look_up(files)
                files = []
            if not is_stamped:
                yield Visit(source)
        yield from self._look_up(files)

    def logits(self, seen: Sequence[tuple[Visit, Crop]]) -> list[list[float]]:
        """Logits of decoded images, in order: each unperturbed first, then under perturbations.

        What is new is in the cache when this returns.
        """
        keys = [str(i) for i in range(len(seen))]
        if self._cache is not None:
            keys = [crop.sha256 or key for key, (_, crop) in zip(keys, seen, strict=True)]
        looks = {
            (key, name): look
            for key, (_, crop) in zip(keys, seen, strict=True)
            for name, look in crop.looks.items()
        }
        logits = self._kept({crop.sha256 for _, crop in seen if crop.sha256 is not None})
        new = {which: look for which, look in looks.items() if which not in logits}
        if new:
            computed = mean_logits(self._session, list(new.values()))
            logits.update(zip(new, computed.tolist(), strict=True))
        self._summary.cached += len(seen) - len({key for key, _ in new})
        found = [
            [logits[key, name] for name in crop.looks]
            for key, (_, crop) in zip(keys, seen, strict=True)
        ]
        self.keep(
            (*_place(visit), crop, logits)
            for (visit, crop), logits in zip(seen, found, strict=True)
        )
        return found

    def _kept(self, contents: set[str]) -> dict[tuple[str, str], float]:
        names = (PLAIN, *self._perturbations)
        kept: dict[tuple[str, str], float] = {}
        return self._ask(lambda cache: cache.logits(contents, names), kept)

    def _look_up(self, files: Sequence[str | RemoteFile]) -> Iterator[Visit]:
        looked = {_path(file): _stamp(file) for file in files}
        stamps = {path: stamp for path, stamp in looked.items() if stamp is not None}
        known: dict[str, Known] = {}
        if stamps and not self._is_reading:
            wanted = self._perturbations
            known = self._ask(lambda cache: cache.unchanged(stamps, wanted), known)
        for file in files:
            path = _path(file)
            stamp, found = stamps.get(path), known.get(path)
            if found is not None and stamp is not None and self._is_enough(found, stamp):
                self._summary.cached += 1
                is_shown = self._provenance != "off"
                yield Visit(file, stamp, found if is_shown else replace(found, provenance=None))
            else:
                yield Visit(file, stamp)

    def _is_enough(self, known: Known, stamp: Stamp) -> bool:
        is_looked_at = self._provenance == "off" or known.provenance is not None
        has_all = known.perturbed.keys() >= set(self._perturbations)
        return is_looked_at and has_all and self._is_within_limits(known, stamp)

    def _is_within_limits(self, known: Known, stamp: Stamp) -> bool:
        max_megabytes = self._limits.max_megabytes
        return known.width * known.height / 1e6 <= self._limits.max_megapixels and (
            max_megabytes is None or stamp.size <= max_megabytes * 1e6
        )

    def keep(self, rows: Iterable[tuple[str | None, Stamp | None, Crop, Sequence[float]]]) -> None:
        """Keep scores before anything else happens.

        Args:
            rows: path, stamp, crop and logits of each image. The path is None for what is known by
                content only; the stamp is that of before the file was read, or of the object that
                was read.
        """
        if self._cache is None:
            return
        scores: list[Known] = []
        files: dict[str, tuple[Stamp, str]] = {}
        for path, stamp, crop, logits in rows:
            if crop.sha256 is None or not all(map(math.isfinite, logits)):
                continue
            if path is not None and not is_uri(path):
                if stamp is None or _stamp(path) != stamp:
                    continue  # it changed meanwhile: pixels and hash may not belong together
                stamp = stamp if _is_settled(stamp) else None
            if path is not None and stamp is not None:
                files[path] = stamp, crop.sha256
            scores.append(self._known(crop.sha256, crop, logits))
        if scores:
            self._ask(lambda cache: cache.remember(scores, files), None)

    def _known(self, sha256: str, crop: Crop, logits: Sequence[float]) -> Known:
        said = crop.provenance
        is_kept = self._provenance == "brief" and (said is None or said.is_lasting)
        return Known(
            sha256,
            logits[0],
            crop.width,
            crop.height,
            crop.format,
            to_text(said) if is_kept else None,
            dict(zip(crop.perturbed, logits[1:], strict=True)),
        )

    def _ask(self, question: Callable[[ScoreCache], T], otherwise: T) -> T:
        if self._cache is None:
            return otherwise
        try:
            return question(self._cache)
        except CacheError as e:
            self._cache = None
            self._summary.warnings.append(str(e))
            return otherwise


def _path(file: str | RemoteFile) -> str:
    return file if isinstance(file, str) else file.path


def _stamp(path: str | RemoteFile) -> Stamp | None:
    """How a regular file that may be read looks from outside; None for anything else."""
    if isinstance(path, RemoteFile):
        return path.stamp
    try:
        status = os.stat(path)  # noqa: PTH116  (a Path per file costs more than the call)
        is_readable = stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK)
    except (OSError, ValueError):  # ValueError: a null character in the name
        return None
    return Stamp(status.st_size, status.st_mtime_ns) if is_readable else None


def _place(visit: Visit) -> tuple[str | None, Stamp | None]:
    """Under which path a visit is known, and by what; an object is as it was when it was read."""
    source = visit.source
    if isinstance(source, RemoteFile):
        return source.path, source.stamp
    return (source, visit.stamp) if isinstance(source, str) else (None, None)


def _is_settled(stamp: Stamp) -> bool:
    return abs(time.time_ns() - stamp.mtime_ns) > SETTLED_NS
