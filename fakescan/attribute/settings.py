"""Every setting of learning one task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from fakescan.attribute.design import PAPER, Preset
from fakescan.data.augment import Augmentation
from fakescan.errors import ConfigError

MemoryMode = Literal["tokens", "paths", "copies", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnSettings:
    """How one task is learnt."""

    memory: int = 500
    """M, exemplars kept in all; each class keeps floor(M / C)."""
    memory_mode: MemoryMode = "tokens"
    """What is kept of an exemplar: its trunk tokens, its path, a copy of its file, or nothing."""
    draws: int = 0
    """Random views of each image besides the one that a scan would cut."""
    epochs: int = 8
    """Each sees every view once; 0: the classifier alone."""
    batch_size: int = 32
    """Views of one optimiser step."""
    lr: float = 1e-3
    """Highest rate of the adapters."""
    head_lr_factor: float = 0.1
    """Rate of the classifier, over that of the adapters."""
    weight_decay: float = 1e-6
    diversity: float = 0.1
    """Weight of the loss that asks the newest extractor alone: old, or which of the new classes?"""
    l2: float = 1e-2
    """Weight of the classifier's squared norm when it is fitted, on standardised features."""
    held_out: float = 0.2
    """Share of each class's images that the adapters never see; temperature and threshold are
    fitted on them."""
    false_unknown: float = 0.05
    """Share of known generators' images that may be called unknown."""
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Of the random views."""

    def __post_init__(self) -> None:
        for name in ("memory", "draws", "epochs", "lr", "weight_decay", "diversity", "l2", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}")
        for name in ("held_out", "false_unknown"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} lies in [0, 1), got {getattr(self, name)}")

    @classmethod
    def of(cls, preset: Preset, **given: Any) -> LearnSettings:
        """The settings of a preset, but for those that are given and not None.

        Raises:
            ConfigError: one that the preset fixes, or out of range.
        """
        asked = {name: value for name, value in given.items() if value is not None}
        if preset != PAPER:
            return cls(**asked)
        if fixed := sorted(FIXED & asked.keys()):
            raise ConfigError(f"{fixed[0]}: fixed by preset {PAPER}")
        return cls(**(PUBLISHED | asked))

    @property
    def kept(self) -> int:
        """Exemplars kept in all; 0 with mode `none`."""
        return 0 if self.memory_mode == "none" else self.memory


PUBLISHED: dict[str, Any] = {
    "epochs": 50,
    "batch_size": 32,
    "memory": 500,
    "memory_mode": "paths",
    "weight_decay": 1e-6,
    "diversity": 0.1,
    "held_out": 0.0,
    "augmentation": Augmentation(recipe="crop"),
}
"""Of preset lorax-paper; its learning rates are in `fakescan.attribute.published`."""
FIXED = frozenset(("lr", "draws"))
"""What that preset does not let anybody choose."""
