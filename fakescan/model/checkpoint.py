"""Checkpoints: experts and head as safetensors, with all that is needed to put them back.

The frozen tower is not stored; its sha256 is, so that another one is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fakescan.config import from_dict, to_dict
from fakescan.errors import ConfigError, WeightsError
from fakescan.image import Preprocess
from fakescan.metadata import BackboneInfo
from fakescan.model.backbone import Backbone
from fakescan.model.detector import DetectorModel, ModelConfig

T = TypeVar("T")

CONFIG, CHECKPOINT = "config.toml", "checkpoint.safetensors"
CALIBRATION, TRAINING = "calibration.json", "training.json"
"""Files of a run folder that training writes and export reads."""

KEY = "fakescan"
"""The one entry of the file's metadata: safetensors writes several in no fixed order, and the
same training must give the same bytes."""
FACTS = ("model", "backbone", "preprocess")
"""Among the texts of that entry, each JSON."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What training made."""

    model: ModelConfig
    backbone: BackboneInfo
    """Of the tower as it was used, cut after its last block."""
    preprocess: Preprocess
    state: dict[str, Tensor]
    """Of experts and head."""
    extra: dict[str, str]
    """Whatever else was stored."""


def save_checkpoint(
    path: Path,
    model: DetectorModel,
    backbone: BackboneInfo,
    preprocess: Preprocess,
    extra: Mapping[str, str],
) -> None:
    """Write experts and head; the file appears whole or not at all.

    Args:
        path: replaced if it is there.
        model: left as it is.
        backbone: its sha256 and sizes are taken anew from the model's tower.
        preprocess: how images became pixels.
        extra: further texts, by names other than `FACTS`.
    """
    if clash := extra.keys() & set(FACTS):
        raise ValueError(f"extra: {sorted(clash)[0]!r} is taken")
    tower = model.tower
    used = replace(backbone, sha256=tower.sha256(), tower=to_dict(tower.config))
    facts = {"model": model.config, "backbone": used, "preprocess": preprocess}
    texts = {name: json.dumps(to_dict(value)) for name, value in facts.items()}
    state = {k: v.detach().cpu().contiguous() for k, v in model.trained_state().items()}
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        entry = json.dumps({**texts, **extra}, sort_keys=True)
        partial.write_bytes(safetensors.torch.save(state, {KEY: entry}))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises:
        WeightsError: no such file, or not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            entry = (stored.metadata() or {}).get(KEY, "{}")
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except FileNotFoundError as e:
        raise WeightsError(f"{path}: no such checkpoint") from e
    except (SafetensorError, OSError) as e:
        raise WeightsError(f"{path}: not a safetensors file ({e})") from e
    texts = _texts(entry, path)
    extra = {name: text for name, text in texts.items() if name not in FACTS}
    return Checkpoint(
        _fact(ModelConfig, texts, "model", path),
        _fact(BackboneInfo, texts, "backbone", path),
        _fact(Preprocess, texts, "preprocess", path),
        state,
        extra,
    )


def restore(checkpoint: Checkpoint, backbone: Backbone) -> DetectorModel:
    """The trained detector.

    Args:
        checkpoint: as read.
        backbone: the one it was trained on; it may have more blocks than were used.

    Raises:
        WeightsError: it is another backbone.
        ConfigError: the checkpoint's tensors do not fit its own configuration.
    """
    depth = checkpoint.model.depth or backbone.tower.config.blocks
    known = checkpoint.backbone
    if depth > backbone.tower.config.blocks:
        raise WeightsError(
            f"checkpoint: uses {depth} blocks of {known.name}; "
            f"this backbone has {backbone.tower.config.blocks}"
        )
    model = DetectorModel(backbone.tower, checkpoint.model)
    found = model.tower.sha256()
    if found != known.sha256:
        raise WeightsError(
            f"checkpoint: trained on {_title(known, known.sha256)}, "
            f"not on this backbone, {_title(backbone.info, found)}"
        )
    model.load_trained_state(checkpoint.state, "checkpoint")
    return model.eval()


def _texts(entry: str, path: Path) -> dict[str, str]:
    try:
        return {str(name): str(text) for name, text in json.loads(entry).items()}
    except (ValueError, AttributeError) as e:
        raise WeightsError(f"{path}: not a checkpoint that `fakescan train` wrote") from e


def _title(info: BackboneInfo, sha256: str) -> str:
    return " ".join(part for part in (info.name, info.pretrained, f"({sha256[:12]})") if part)


def _fact(cls: type[T], texts: Mapping[str, str], name: str, path: Path) -> T:
    try:
        return from_dict(cls, json.loads(texts[name]), f"{path}: {name}")
    except (KeyError, ValueError, ConfigError) as e:
        raise WeightsError(f"{path}: not a checkpoint that `fakescan train` wrote ({e})") from e
