"""How both classes are made alike, so that what is left to tell them apart are their pixels."""

from __future__ import annotations

from dataclasses import dataclass

from fakescan.perturb import parse


@dataclass(frozen=True, kw_only=True, slots=True)
class Equalising:
    """What is done to every image, in memory, before the detector cuts its square.

    Shorter sides are scaled down to the same length, then the image is encoded as JPEG of quality
    96 (`fakescan.perturb.equalise`) and decoded again. Metadata, format, compression and size are
    then the same for both classes, but for images that were smaller to begin with. The scaling
    also weakens what generators leave in pixels: a figure that falls says that file properties
    may have helped, not by how much.
    """

    short_px: int = 256
    """Longest that a shorter side may be: what the smallest common images have."""

    def __post_init__(self) -> None:
        parse(self.perturbation)

    @property
    def perturbation(self) -> str:
        """As `fakescan.perturb.parse` reads it."""
        return f"equalise:{self.short_px}"
