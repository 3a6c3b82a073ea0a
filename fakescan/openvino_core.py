"""OpenVINO, started once for a process."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino


@cache
def core() -> openvino.Core:
    """The one core, which stays until the process ends.

    Where the last core had been dropped, the next signal that Python handles (a child's end, with
    torch's data loader listening) killed the process: OpenVINO's CPU plugin puts handlers on a
    stack of its own, which seems to go with it. Seen with OpenVINO 2026.4 beside torch.

    Raises:
        ModuleNotFoundError: OpenVINO is not installed.
    """
    import openvino

    return openvino.Core()
