import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fakescan.bench.clock import Span, TimedSession, children_peak_mb, peak_mb
from tiny import PX

HAS_PROC = Path("/proc/self/status").exists()


def test_spans_add_subtract_and_divide_clock_by_clock():
    assert Span(3.0, 5.0, 7.0) - Span(1.0, 1.0, 1.0) == Span(2.0, 4.0, 6.0)
    assert Span(3.0, 5.0, 7.0) + Span(1.0, 2.0, 3.0) == Span(4.0, 7.0, 10.0)
    assert Span(3.0, 5.0, 7.0) / 2 == Span(1.5, 2.5, 3.5)


def test_work_shows_on_every_clock_and_waiting_on_the_wall_only():
    start = Span.now()
    time.sleep(0.05)
    waited = Span.now() - start
    assert waited.wall_s > waited.thread_s
    while time.thread_time() < start.thread_s + 0.02:
        pass
    worked = Span.now() - start
    assert worked.thread_s >= 0.02
    assert worked.process_s >= 0.02


def test_a_timed_detector_counts_the_time_inside_it_and_no_other(tiny):
    session = TimedSession(tiny)
    crops = np.zeros((1, PX, PX, 3), np.uint8)
    start = Span.now()
    assert session.inside == Span()
    session.logits(crops)
    first = session.inside
    session.logits(crops)
    assert 0 < first.wall_s < session.inside.wall_s <= (Span.now() - start).wall_s


def test_peak_memory_is_that_of_the_past():
    before = peak_mb()
    if before is None:
        pytest.skip("this system does not tell")
    block = bytes([1]) * 300_000_000
    del block
    assert peak_mb() >= 300


@pytest.mark.skipif(not HAS_PROC, reason="only Linux lists children")
def test_peak_memory_of_a_child_is_its_own_and_not_its_parents():
    block = bytes([1]) * 300_000_000
    hold = "block = bytes([1]) * {}; del block; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold.format(60_000_000)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        child.stdout.readline()
        assert 60 <= children_peak_mb() < 200
    del block
