"""What a figure was measured on, in a line."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from fakescan.scan.pipeline import usable_cores

MODEL = re.compile(r"^model name\s*: *(.+)$", re.MULTILINE)


def machine() -> str:
    """Processor, cores that may be used, system and Python."""
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
