import threading
import time

import pytest

from fakescan.scan.alarm import Alarm

SECONDS = 0.2


@pytest.fixture
def bell():
    """Released once for each ring."""
    return threading.Semaphore(0)


@pytest.fixture
def alarm(bell):
    alarm = Alarm(SECONDS, bell.release)
    yield alarm
    alarm.end()


def test_it_rings_once_each_time_it_is_set(alarm, bell):
    for _ in range(2):
        alarm.set()
        assert bell.acquire(timeout=10)
    assert not bell.acquire(timeout=2 * SECONDS)


def test_it_does_not_ring_when_called_off(alarm, bell):
    alarm.set()
    alarm.call_off()
    assert not bell.acquire(timeout=2 * SECONDS)
    alarm.set()
    assert bell.acquire(timeout=10)


def test_set_again_it_begins_anew(alarm, bell):
    alarm.set()
    time.sleep(SECONDS / 2)
    start = time.monotonic()
    alarm.set()
    assert bell.acquire(timeout=10)
    assert time.monotonic() - start >= SECONDS
    assert not bell.acquire(timeout=2 * SECONDS)


def test_nothing_rings_after_the_end(bell):
    before = set(threading.enumerate())
    alarm = Alarm(SECONDS, bell.release)
    (thread,) = set(threading.enumerate()) - before
    alarm.set()
    alarm.end()
    thread.join(10)
    assert not thread.is_alive()
    assert not bell.acquire(timeout=2 * SECONDS)
