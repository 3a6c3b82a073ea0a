"""What a run needs to go on after a kill, in one safetensors file that is replaced atomically.

Tensors: `model.*` and `best.*` (experts and head), `average.*`, `adam.<i>.*`, `random.*`;
counters are JSON among the file's metadata. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fakescan.config import from_dict
from fakescan.errors import ConfigError

FILE = "resume.safetensors"


@dataclass(kw_only=True, slots=True)
class Position:
    """Where a run stands; the order of an epoch follows from its number."""

    samples: str = ""
    """sha256 of the units, so that a run goes on with the data it began with."""
    backbone: str = ""
    """sha256 of the tower that it began with."""
    epoch: int = 0
    """The current one, from 0."""
    step: int = 0
    """Done in this epoch."""
    total_steps: int = 0
    """Done in all."""
    best: tuple[float, float] | None = None
    """Best validation figure and, where two are the same, minus its loss; larger is better."""
    best_epoch: int = 0
    """Epochs done when it was reached; 0 is the probe."""
    is_done: bool = False
    """All epochs are over, or it stopped early."""
    loss_scale: float = 0.0
    """Of fp16 training; 0 otherwise."""
    loss_scale_steps: int = 0
    """Since it last changed."""


def save_state(path: Path, position: Position, groups: dict[str, dict[str, Tensor]]) -> None:
    """Write position and tensors, atomically."""
    tensors = {
        f"{group}.{name}": value.detach().cpu().clone().contiguous()
        for group, values in groups.items()
        for name, value in values.items()
    }
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as stream:
        stream.write(save(tensors, metadata={"position": json.dumps(asdict(position))}))
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def load_state(path: Path) -> tuple[Position, dict[str, dict[str, Tensor]]]:
    """Read what `save_state` wrote.

    Raises:
        ConfigError: it cannot be read.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as stream:
            position = json.loads((stream.metadata() or {})["position"])
            for name in stream.keys():  # noqa: SIM118
                group, _, rest = name.partition(".")
                groups.setdefault(group, {})[rest] = stream.get_tensor(name)
    except (OSError, SafetensorError, KeyError, ValueError) as e:
        raise ConfigError(f"{path}: not a state that training can go on from ({e})") from e
    return from_dict(Position, position, str(path)), groups


def adam_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An AdamW's state as named tensors."""
    states = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, state in states.items() for name, value in state.items()}


def restore_adam(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Take what `adam_tensors` gave."""
    whole: dict[str, Any] = optimizer.state_dict()
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        states.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**whole, "state": states})


def random_tensors() -> dict[str, Tensor]:
    """The states of torch's random generators."""
    found = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def restore_random(tensors: dict[str, Tensor]) -> None:
    """Take what `random_tensors` gave."""
    torch.set_rng_state(tensors["cpu"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
