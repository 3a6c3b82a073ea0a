"""Tiny random towers and detectors: the whole path of a real one, in milliseconds."""

from __future__ import annotations

import torch

from fakescan.config import to_dict
from fakescan.image import Preprocess
from fakescan.metadata import BackboneInfo, DetectorMetadata
from fakescan.model.backbone import Backbone
from fakescan.model.detector import DetectorModel, ModelConfig
from fakescan.model.mole import Mixture, MoLEConfig
from fakescan.model.tower import Tower, TowerConfig

SIZES = {
    "image_px": 16,
    "patch_px": 8,
    "width": 32,
    "blocks": 2,
    "heads": 2,
    "mlp_width": 64,
    "embed_dim": 8,
}
PREPROCESS = Preprocess(image_px=16)


def tiny_tower(**changes) -> Tower:
    """Five tokens of 32 numbers, two blocks, seeded; biases and norms random too."""
    torch.manual_seed(0)
    tower = Tower(TowerConfig(**{**SIZES, **changes}))
    with torch.no_grad():
        for parameter in tower.parameters():
            if parameter.ndim < 2:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return tower


def tiny_backbone(**changes) -> Backbone:
    tower = tiny_tower(**changes)
    info = BackboneInfo(
        name="tiny", pretrained="random", sha256=tower.sha256(), tower=to_dict(tower.config)
    )
    return Backbone(tower, info)


def tiny_model(*, head="levels", tower=None, depth=None, **mole) -> DetectorModel:
    """A detector whose experts, routers and head all matter, as after training."""
    tower = tower or tiny_tower()
    blocks = tower.config.blocks
    levels = tuple(range(1, (depth or blocks) + 1)) if head == "levels" else ()
    config = ModelConfig(head=head, levels=levels, depth=depth, mole=MoLEConfig(**mole))
    model = DetectorModel(tower, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Mixture):
                module.lora_B.normal_(std=0.1)
                if module.router is not None:
                    module.router.normal_(std=1.0)
        features = len(model.head.weight)
        model.head.weight.normal_(std=0.5)
        model.head.bias.fill_(0.3)
        model.head.standardise(torch.randn(features), 0.5 + torch.rand(features))
    return model.eval()


def tiny_metadata(model: DetectorModel, precision="fp32", /, **changes) -> DetectorMetadata:
    tower = model.tower
    values = {
        "name": "tiny",
        "precision": precision,
        "preprocess": Preprocess(image_px=tower.config.image_px),
        "backbone": BackboneInfo(name="tiny", sha256=tower.sha256(), tower=to_dict(tower.config)),
        "model": to_dict(model.config),
    }
    return DetectorMetadata(**{**values, **changes})


def tiny_pixels(images: int = 3, px: int = 16) -> torch.Tensor:
    """(B, 3, S, S), seeded."""
    return torch.randn(images, 3, px, px, generator=torch.Generator().manual_seed(2))


KINDS = {
    "levels": lambda: tiny_model(gate="dense"),
    "final": lambda: tiny_model(head="final", gate="dense"),
    "gelu": lambda: tiny_model(tower=tiny_tower(activation="gelu"), gate="dense"),
    "gelu_tanh": lambda: tiny_model(tower=tiny_tower(activation="gelu_tanh"), gate="dense"),
    "layer scale": lambda: tiny_model(tower=tiny_tower(has_layer_scale=True), gate="dense"),
    "no ln_pre": lambda: tiny_model(tower=tiny_tower(has_ln_pre=False), gate="dense"),
    "wide": lambda: tiny_model(tower=tiny_tower(width=96, mlp_width=192), gate="dense"),
}
"""A detector of every kind of tower and head."""


def loud_model(of="weight"):
    """A detector with a few channels that are far larger than the others, as CLIP has them.

    Args:
        of: what of the LayerNorms makes them so: weight, in all tokens another way, or bias.
    """
    model = tiny_model(gate="dense")
    with torch.no_grad():
        for block in model.tower.blocks:
            getattr(block.ln_1, of)[3] = getattr(block.ln_2, of)[5] = 60.0
            block.attn.in_proj_weight[:, 3] *= 0.02
            block.mlp.c_fc.weight[:, 5] *= 0.02
    return model
