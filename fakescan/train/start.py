"""Settings -> the model that training starts from, and its frozen tower's origin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fakescan import weights
from fakescan.config import from_dict
from fakescan.errors import ConfigError
from fakescan.image import Preprocess
from fakescan.metadata import BackboneInfo
from fakescan.model.backbone import BUILTIN, BackboneConfig, load_backbone
from fakescan.model.detector import DetectorModel, ModelConfig
from fakescan.train.settings import TrainConfig, default_model


@dataclass(frozen=True, slots=True)
class Start:
    """What a run starts from; `config` has nothing unset any more."""

    config: TrainConfig
    model: DetectorModel
    backbone: BackboneInfo
    preprocess: Preprocess


def start(config: TrainConfig, device: torch.device) -> Start:
    """Load the backbone, or a whole detector, and put untrained parts where they belong.

    Raises:
        ConfigError: settings that do not fit the device, the backbone or the detector.
        WeightsError: the file cannot be had.
    """
    if config.precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision fp16 needs a GPU; on the CPU use fp32 or bf16")
    if config.init is not None:
        return _from_detector(config, config.init, device)
    backbone = load_backbone(config.backbone)
    sizes = backbone.tower.config
    wanted = (config.model or default_model(sizes.blocks)).resolved(sizes.blocks)
    preprocess = config.preprocess or Preprocess(image_px=sizes.image_px)
    if preprocess.image_px != sizes.image_px:
        raise ConfigError(
            f"preprocess: image_px is {preprocess.image_px}, "
            f"the backbone takes {sizes.image_px} pixels"
        )
    torch.manual_seed(config.seed)
    model = DetectorModel(backbone.tower, wanted).to(device)
    config = replace(config, model=wanted, preprocess=preprocess)
    return Start(config, model, backbone.info, preprocess)


def _from_detector(config: TrainConfig, init: str, device: torch.device) -> Start:
    """Fine-tune: tower, configuration and weights all come from one exported file."""
    from fakescan.model.builtin import load_exported  # needs onnx, which other starts do not

    path = weights.resolve(init)
    loaded, metadata = load_exported(path)
    wanted = from_dict(ModelConfig, metadata.model, f"{path}: model")
    if config.model is not None and config.model.resolved(loaded.depth) != loaded.config:
        raise ConfigError(
            f"init {init}: its levels, experts and head are fixed; leave out [model] "
            "and the options that set it"
        )
    preprocess = config.preprocess or metadata.preprocess
    if preprocess != metadata.preprocess:
        raise ConfigError(f"init {init}: its preprocessing is fixed; leave out [preprocess]")
    torch.manual_seed(config.seed)
    backbone = BackboneConfig(name=BUILTIN, weights=Path(path))
    config = replace(config, init=str(path), backbone=backbone, model=wanted, preprocess=preprocess)
    return Start(config, loaded.to(device), metadata.backbone, preprocess)
