"""The NVIDIA GPU of this machine, as its driver tells of it."""

from __future__ import annotations

import ctypes
import sys
from typing import Any


def has_gpu() -> bool:
    """True when the NVIDIA driver is there and shows at least one GPU."""
    driver = _driver()
    count = ctypes.c_int(0)
    if driver is None or driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return False
    return count.value > 0


def gpu_name() -> str:
    """What the driver calls the first GPU, which is the one that is used."""
    driver = _driver()
    name = ctypes.create_string_buffer(256)
    if driver is None or driver.cuInit(0) or driver.cuDeviceGetName(name, len(name), 0):
        return "no GPU"
    return name.value.decode(errors="replace")


def _driver() -> Any:
    """NVIDIA's driver, or None; its functions give 0 for success."""
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
