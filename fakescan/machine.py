"""The machine that this process runs on: what it is, and how much of it may be used."""

from __future__ import annotations

import math
import os
import platform
import re
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Processor time of this container, as `microseconds period`. Source: Linux, cgroup-v2.rst."""
OLD_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
"""The same where cgroups have version 1: microseconds, -1 for no quota; the period is beside it."""
OLD_PERIOD = "cpu.cfs_period_us"
MODEL = re.compile(r"^model name\s*: *(.+)$", re.MULTILINE)


def usable_cores(quota: Path = QUOTA, old_quota: Path = OLD_QUOTA) -> int:
    """Processor cores that this process may use: by its affinity, and by its container's quota."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    for texts in ((quota,), (old_quota, old_quota.with_name(OLD_PERIOD))):
        try:
            words = " ".join(text.read_text(encoding="ascii") for text in texts).split()
            microseconds, period = map(int, words)
        except (OSError, ValueError):  # no container, or `max`: no quota
            continue
        if microseconds > 0 and period > 0:
            return max(1, min(cores, math.ceil(microseconds / period)))
    return cores


def description() -> str:
    """Processor, cores that may be used, system and Python, in a line."""
    cores = usable_cores()
    return (
        f"{_processor()}, {cores} core{'' if cores == 1 else 's'}, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        found = MODEL.search(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or "unknown processor"
