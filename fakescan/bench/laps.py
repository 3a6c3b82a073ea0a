"""One round of the benchmark: the detector alone, the whole scan, and decoding alone, in turns.

In turns, and the first two in changing order, so that what else the machine does meanwhile weighs
on all of them. The rates of the first two count from the first finding on; the start is apart.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

from fakescan.bench.clock import Span, TimedSession
from fakescan.errors import ConfigError
from fakescan.records import Summary, mean_logits
from fakescan.scan.ahead import decode_ahead
from fakescan.scan.crop import Crop, crop_file
from fakescan.scan.decode import Children
from fakescan.scan.pipeline import ScanSettings, decoding_job, scan

MIN_BATCHES = 4
"""With fewer, a rate says nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What was measured in one round; seconds per image unless said otherwise."""

    detector_s: float
    """The detector alone, on crops that are ready."""
    detector_cpu_s: float
    """Its processor time, all threads."""
    scan_s: float
    """The scan, without the cache."""
    inside_s: float
    """Of the scan: inside the detector."""
    own_s: float
    """Of the scan: processor time of the main thread outside the detector."""
    decoding_s: float
    """Decoding alone, in as many processes as the scan's."""
    decoding_cpu_s: float
    """Processor time of decoding one image."""
    start_s: float
    """From the start of the scan to its first finding, in all."""

    @property
    def ratio(self) -> float:
        """Throughput of the scan as a share of the detector's alone."""
        return self.detector_s / self.scan_s

    @property
    def slowed_s(self) -> float:
        """Of the scan: how much longer the detector takes while others decode."""
        return self.inside_s - self.detector_s

    @property
    def waiting_s(self) -> float:
        """Of the scan: neither in the detector nor at work."""
        return self.scan_s - self.inside_s - self.own_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """What is measured with in every round."""

    count: int
    """How many; files that cannot be decoded are left out."""
    width: int
    """Of the median image, by its number of pixels."""
    height: int
    """Of the same."""
    kilobytes: float
    """Size of the median file, 10^3 bytes."""


class Laps:
    """Measures one detector on one set of images, any number of times."""

    def __init__(self, session: TimedSession, settings: ScanSettings, paths: Sequence[str]) -> None:
        """Decode every image once, which also starts the decoders; leaves out what is damaged.

        Raises:
            ConfigError: too few images are left.
        """
        self._session = session
        self._settings = settings
        self._job = decoding_job(session, settings, has_hashes=settings.hashes)
        self.batch = settings.batch_on(session.device)
        self._children = Children(self._job)
        try:
            self._paths, self._crops = self._decode(paths)
            if len(self._paths) < (least := MIN_BATCHES * self.batch):
                raise ConfigError(
                    f"too few images to measure with: {len(self._paths)}; need {least}, "
                    f"{MIN_BATCHES} batches of {self.batch}"
                )
            mean_logits(session, [c.pixels for c in self._crops[: self.batch]])  # warm up
        except BaseException:
            self._children.close()
            raise

    def images(self) -> Images:
        """What is measured with."""
        sizes = sorted(((c.width, c.height) for c in self._crops), key=math.prod)
        width, height = sizes[len(sizes) // 2]
        kilobytes = median(Path(path).stat().st_size for path in self._paths) / 1e3
        return Images(count=len(sizes), width=width, height=height, kilobytes=kilobytes)

    def __enter__(self) -> Laps:
        return self

    def __exit__(self, *_: object) -> None:
        self._children.close()

    def round(self, *, is_scan_first: bool) -> Round:
        """Measure everything once."""
        if is_scan_first:
            start, scanning, inside = self._scan()
            alone = self._detector()
        else:
            alone = self._detector()
            start, scanning, inside = self._scan()
        return Round(
            detector_s=alone.wall_s,
            detector_cpu_s=alone.process_s,
            scan_s=scanning.wall_s,
            inside_s=inside.wall_s,
            own_s=scanning.thread_s - inside.thread_s,
            decoding_s=self._decoding_s(),
            decoding_cpu_s=self._decoding_cpu_s(),
            start_s=start.wall_s,
        )

    @property
    def _counted(self) -> int:
        """Images from the first finding on: all but those scored with it."""
        return len(self._paths) - self.batch

    def _detector(self) -> Span:
        """The detector alone, an image."""
        looks = [crop.pixels for crop in self._crops[self.batch :]]  # (K, S, S, 3) each
        start = Span.now()
        for i in range(0, len(looks), self.batch):
            mean_logits(self._session, looks[i : i + self.batch])
        return (Span.now() - start) / self._counted

    def _scan(self) -> tuple[Span, Span, Span]:
        """The scan: until its first finding in all, from then on an image, and inside of that."""
        begin = Span.now()
        findings = scan(self._paths, self._session, self._settings, Summary())
        with closing(findings):
            next(findings)
            first, inside = Span.now(), self._session.inside
            for _ in islice(findings, len(self._paths) - 1):
                pass
            last = Span.now()
        return (
            first - begin,
            (last - first) / self._counted,
            (self._session.inside - inside) / self._counted,
        )

    def _decoding_s(self) -> float:
        start = time.perf_counter()
        self._decode(self._paths)
        return (time.perf_counter() - start) / len(self._paths)

    def _decoding_cpu_s(self) -> float:
        """In this process: every file has been decoded in a child before."""
        job = self._job
        start = time.thread_time()
        for path in self._paths:
            crop_file(Path(path), job.preprocess, job.limits, job.extras)
        return (time.thread_time() - start) / len(self._paths)

    def _decode(self, paths: Sequence[str]) -> tuple[list[str], list[Crop]]:
        """Paths that can be decoded, and what they hold."""
        workers = self._settings.decoders
        decoded = decode_ahead(
            paths, self._children.decode, workers=workers, ahead=self.batch + 2 * workers
        )
        with closing(decoded):
            good = [(d.item, d.pixels) for d in decoded if d.pixels is not None]
        return [path for path, _ in good], [crop for _, crop in good]
