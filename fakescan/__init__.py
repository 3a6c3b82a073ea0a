"""fakescan tells AI-generated images from photographs, offline.

from fakescan import Detector
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fakescan.detector import Detector
    from fakescan.errors import FakescanError
    from fakescan.records import Finding, Verdict

    __version__: str

__all__ = ["Detector", "FakescanError", "Finding", "Verdict", "__version__"]

_HOMES = {
    "Detector": "fakescan.detector",
    "FakescanError": "fakescan.errors",
    "Finding": "fakescan.records",
    "Verdict": "fakescan.records",
}
"""Where the public names live; they are imported when first used."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import fakescan` costs nothing."""
    if name == "__version__":
        from importlib.metadata import version

        return version("fakescan")
    if name not in _HOMES:
        raise AttributeError(f"module 'fakescan' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
