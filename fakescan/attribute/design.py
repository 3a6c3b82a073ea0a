"""How an attributor is built: what adapters look like and what the classifier reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fakescan.errors import ConfigError

Preset = Literal["shared-trunk", "lorax-paper"]
Site = Literal["mlp", "attention", "both"]
PRESETS: tuple[Preset, ...] = ("shared-trunk", "lorax-paper")
SHARED, PAPER = PRESETS


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """Fixed when an attributor is made; the same for all its tasks."""

    preset: Preset = SHARED
    """`shared-trunk`: adapters in the last blocks only; `lorax-paper`: the published ones."""
    last_blocks: int = 3
    """k: blocks that carry adapters, counted from the last that is used."""
    site: Site = "mlp"
    """Where in a block: around the MLP, beside attention's q, k, v and out, or both."""
    rank: int = 8
    """Rank r of each adapter."""
    alpha: float | None = None
    """LoRA alpha; updates are scaled by alpha / rank. Unset: alpha = rank."""
    head: Literal["final", "levels"] = "levels"
    """The classifier reads the projected embedding, or the vectors after chosen blocks."""
    levels: tuple[int, ...] = ()
    """Blocks after which a `levels` head reads the class token and the mean patch token."""

    def __post_init__(self) -> None:
        if self.last_blocks < 1 or self.rank < 1 or (self.alpha is not None and self.alpha <= 0):
            raise ConfigError(
                f"last_blocks and rank must be at least 1 and alpha positive, got "
                f"{self.last_blocks}, {self.rank} and {self.alpha}"
            )
