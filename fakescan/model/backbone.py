"""Where a frozen tower comes from: open_clip, a safetensors file, or a shipped detector."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fakescan.config import to_dict
from fakescan.errors import ConfigError, WeightsError
from fakescan.metadata import BackboneInfo
from fakescan.model.tower import Activation, Tower, TowerConfig

PREFIX = "visual."
OPENAI_LICENCE = "MIT (OpenAI CLIP)"
PLAIN_KEYS = {
    "image_size",
    "patch_size",
    "layers",
    "width",
    "head_width",
    "mlp_ratio",
    "ls_init_value",
    "no_ln_pre",
    "pos_embed_type",
    "pool_type",
    "final_ln_after_pool",
    "attentional_pool",
    "attn_pooler_queries",
    "attn_pooler_heads",
    "norm_kwargs",
    "act_kwargs",
    "output_tokens",
    "patch_dropout",
}
"""Keys of open_clip's `vision_cfg` that a plain ViT may have."""
BUILTIN = "builtin"
"""Name of the tower inside the shipped detector."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneConfig:
    """Which frozen tower."""

    name: str = BUILTIN
    """An open_clip ViT architecture, such as ViT-B-16-quickgelu, or `builtin`."""
    pretrained: str = "openai"
    """open_clip tag of the weights; downloaded when no file is given."""
    weights: Path | None = None
    """A safetensors file with the tower's tensors (`visual.` in front of the names or not); for
    `builtin` another detector's file."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """A frozen tower and where it came from."""

    tower: Tower
    info: BackboneInfo


def load_backbone(config: BackboneConfig) -> Backbone:
    """Load a frozen tower.

    Raises:
        ConfigError: open_clip has no such architecture, or it is not a plain ViT.
        WeightsError: the weights cannot be had or do not fit.
    """
    if config.name == BUILTIN:
        from fakescan.model.builtin import load_builtin

        if config.weights is not None and config.weights.suffix == ".safetensors":
            raise ConfigError(
                f"{config.weights}: backbone {BUILTIN!r} is taken out of a detector's .onnx file; "
                "name the architecture of these weights with --backbone"
            )
        return load_builtin(config.weights)
    tower = Tower(tower_config(config.name))
    if config.weights is not None:
        source, tensors = config.weights.name, read_tensors(config.weights)
    else:
        source, tensors = config.pretrained, _download(config)
    fill(tower, tensors, str(config.weights or f"{config.name} {config.pretrained}"))
    licence = OPENAI_LICENCE if config.pretrained == "openai" else ""
    info = BackboneInfo(
        name=config.name,
        pretrained=source,
        sha256=tower.sha256(),
        licence=licence,
        tower=to_dict(tower.config),
    )
    return Backbone(tower, info)


def tower_config(name: str) -> TowerConfig:
    """Sizes of an open_clip ViT tower, by architecture name.

    Raises:
        ConfigError: no such architecture, or one that is not a plain ViT.
    """
    import open_clip

    config = open_clip.get_model_config(name)
    if config is None:
        close = difflib.get_close_matches(name, open_clip.list_models(), n=3)
        hint = f"; close names: {', '.join(close)}" if close else ""
        raise ConfigError(f"backbone {name!r}: open_clip has no such architecture{hint}")
    vision = dict(config["vision_cfg"])
    if not isinstance(vision.get("layers"), int) or "timm_model_name" in vision:
        raise ConfigError(f"backbone {name!r}: not one of open_clip's own ViT towers")
    odd = sorted(key for key in vision if key not in PLAIN_KEYS and vision[key])
    if odd or not isinstance(vision.get("image_size", 224), int):
        raise ConfigError(
            f"backbone {name!r}: unsupported ViT variant ({', '.join(odd) or 'not square'})"
        )
    return _sizes(config, vision)


def _sizes(config: dict[str, Any], vision: dict[str, Any]) -> TowerConfig:
    width = int(vision["width"])
    activation: Activation = "quick_gelu" if config.get("quick_gelu") else "gelu"
    if vision.get("act_kwargs", {}).get("approximate") == "tanh":
        activation = "gelu_tanh"
    return TowerConfig(
        image_px=vision.get("image_size", 224),
        patch_px=vision.get("patch_size", 16),
        width=width,
        blocks=vision["layers"],
        heads=width // vision.get("head_width", 64),
        mlp_width=int(width * vision.get("mlp_ratio", 4.0)),
        embed_dim=config["embed_dim"],
        activation=activation,
        norm_eps=vision.get("norm_kwargs", {}).get("eps", 1e-5),
        has_ln_pre=not vision.get("no_ln_pre", False),
        has_layer_scale=vision.get("ls_init_value") is not None,
        has_projection=not vision.get("attentional_pool", False),
        pool="mean" if vision.get("pool_type", "tok") == "avg" else "class",
        pools_first=bool(vision.get("final_ln_after_pool", False)),
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, `visual.` cut from their names.

    Raises:
        WeightsError: no such file, or not safetensors; pickles are refused.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as e:
        raise WeightsError(
            f"{path}: not a safetensors file; pickled weights (.pt, .bin) can run code when "
            "opened and are refused: convert them first"
        ) from e
    has_prefix = any(name.startswith(PREFIX) for name in tensors)
    return {
        name.removeprefix(PREFIX): value
        for name, value in tensors.items()
        if name.startswith(PREFIX) or not has_prefix
    }


def fill(tower: Tower, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy tensors into a tower, float32; every one that it has must be there and fit.

    Raises:
        WeightsError: one is missing or of another shape.
    """
    state = tower.state_dict()
    for name, own in state.items():
        if name not in tensors:
            raise WeightsError(f"{where}: no tensor {name!r}; another architecture's weights?")
        if tensors[name].shape != own.shape:
            raise WeightsError(
                f"{where}: {name} is {tuple(tensors[name].shape)}, "
                f"the tower needs {tuple(own.shape)}"
            )
    tower.load_state_dict({name: tensors[name].float() for name in state})


def _download(config: BackboneConfig) -> dict[str, Tensor]:
    import open_clip

    known = open_clip.list_pretrained_tags_by_model(config.name)
    if config.pretrained not in known:
        raise ConfigError(
            f"backbone {config.name}: no pretrained {config.pretrained!r}; "
            f"known: {', '.join(known) or 'none'}"
        )
    try:
        model = open_clip.create_model(config.name, pretrained=config.pretrained)
    except (OSError, RuntimeError, ValueError) as e:
        raise WeightsError(
            f"{config.name} {config.pretrained}: cannot be downloaded; give a file with "
            f"--backbone-weights, or use --backbone {BUILTIN}"
        ) from e
    visual = model.visual
    assert isinstance(visual, torch.nn.Module)
    return dict(visual.state_dict())
