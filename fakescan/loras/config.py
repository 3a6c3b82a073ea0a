"""What else decides the scale of an adapter: PEFT's adapter_config.json, or diffusers' metadata.

Without either, scale = alpha / rank, and alpha = rank where a file states none. Scale only moves
the strength that is reported: similarity does not depend on it, but for its sign.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONFIG_NAME = "adapter_config.json"
MAX_CONFIG_BYTES = 1_000_000
DIFFUSERS_KEY = "lora_adapter_metadata"


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """Scales that stand beside the factors."""

    alpha: float | None = None
    """For every module that names none."""
    alphas: Mapping[str, float] = field(default_factory=dict)
    """By the end of a module's path, compared as text and never as a pattern."""
    is_root_scaled: bool = False
    """scale = alpha / sqrt(rank), as in rsLoRA."""
    is_transposed: bool = False
    """The base layers keep their weights transposed (`fan_in_fan_out`)."""
    rank: int | None = None
    """What alpha is divided by where the factors do not show it: a LoKr of two whole matrices."""

    def alpha_of(self, path: str) -> float | None:
        """Alpha of the module at a path; None when nothing is said of it."""
        for end, alpha in self.alphas.items():
            if path == end or path.endswith(f".{end}"):
                return alpha
        return self.alpha

    def scale(self, alpha: float, rank: int) -> float:
        """What B A is multiplied by."""
        return alpha / (math.sqrt(rank) if self.is_root_scaled else rank)


def config_beside(path: Path) -> AdapterConfig | None:
    """What PEFT wrote beside its adapter_model.safetensors; None without a readable file."""
    try:
        if path.name != "adapter_model.safetensors":
            return None
        beside = path.with_name(CONFIG_NAME)
        if not beside.is_file() or beside.stat().st_size > MAX_CONFIG_BYTES:
            return None
        values = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return _from_peft(values) if isinstance(values, dict) else None


def config_inside(metadata: Mapping[str, str]) -> AdapterConfig:
    """What diffusers wrote into the file's metadata; else the defaults."""
    text = metadata.get(DIFFUSERS_KEY)
    if text is None or len(text) > MAX_CONFIG_BYTES:
        return AdapterConfig()
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return AdapterConfig()
    if not isinstance(values, dict):
        return AdapterConfig()
    prefixes = {k.partition(".")[0] for k in values}
    if len(prefixes) != 1:  # several components, each with its own: too rare to tell apart
        return AdapterConfig()
    return _from_peft({k.partition(".")[2]: v for k, v in values.items()})


def _from_peft(values: Mapping[str, Any]) -> AdapterConfig:
    pattern, rank = values.get("alpha_pattern"), values.get("r")
    alphas = pattern.items() if isinstance(pattern, dict) else ()
    return AdapterConfig(
        alpha=_number(values.get("lora_alpha", values.get("alpha"))),  # LoHa and LoKr: alpha
        alphas={k.lstrip("^"): a for k, v in alphas if (a := _number(v)) is not None},
        is_root_scaled=values.get("use_rslora") is True,
        is_transposed=values.get("fan_in_fan_out") is True,
        rank=rank if type(rank) is int and rank > 0 else None,
    )


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        number = float(value) if is_number else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
