"""Clocks: of the wall, of this process, of this thread; and how much memory processes took."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fakescan.session import OnnxSession

PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds on three clocks; `now` gives those since some beginning."""

    wall_s: float = 0.0
    process_s: float = 0.0
    """Processor time of this process, all threads."""
    thread_s: float = 0.0
    """Processor time of the calling thread."""

    @classmethod
    def now(cls) -> Span:
        """What the clocks show."""
        return cls(time.perf_counter(), time.process_time(), time.thread_time())

    def __add__(self, other: Span) -> Span:
        return Span(
            self.wall_s + other.wall_s,
            self.process_s + other.process_s,
            self.thread_s + other.thread_s,
        )

    def __sub__(self, other: Span) -> Span:
        return self + other / -1

    def __truediv__(self, divisor: float) -> Span:
        return Span(self.wall_s / divisor, self.process_s / divisor, self.thread_s / divisor)


class TimedSession(OnnxSession):
    """A detector that adds up the time spent in it."""

    inside = Span()

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `OnnxSession.logits`."""
        start = Span.now()
        logits = super().logits(crops)
        self.inside += Span.now() - start
        return logits


def peak_mb() -> float | None:
    """The most memory that this process has taken, 10^6 bytes; None where nobody tells."""
    if (peak := _peak_of("self")) is not None:
        return peak
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def children_peak_mb(process: str = "self") -> float | None:
    """The most memory that one living child of a process has taken; None where nobody tells."""
    peaks = [peak for pid in _children(process) if (peak := _peak_of(pid)) is not None]
    return max(peaks, default=None)


def _children(process: str) -> Iterator[str]:
    """Ids of living child processes, where Linux lists them."""
    home = Path("/proc", process)
    for file in home.glob("task/*/children"):
        with suppress(OSError):  # a thread or a child has ended meanwhile
            for child in file.read_text(encoding="ascii").split():
                if _command_of(Path("/proc", child)) != _command_of(home):
                    yield child


def _command_of(home: Path) -> bytes:
    """Until it runs its own program, a child has the command, and the memory, of its parent."""
    return (home / "cmdline").read_bytes()


def _peak_of(process: str) -> float | None:
    """From Linux: other than getrusage, without what a parent held when it started the child."""
    try:
        status = Path("/proc", process, "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = PEAK.search(status)
    return int(found[1]) * 1024 / 1e6 if found else None
