"""timm's ConViT as a frozen backbone, with a place for one LoRA beside each gated block's qk and v.

    embedding = norm(x)[0] after the last block, x = patches + positions, the class token joining
    after the gated blocks

Source: d'Ascoli et al., "ConViT", arXiv 2103.10697; the network is timm's own, unchanged but for
its two linear maps. LoRA: Hu et al., arXiv 2106.09685, initialised as peft does.

Shapes: B images, N patches, D width, r rank.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fakescan.errors import ConfigError, WeightsError
from fakescan.metadata import BackboneInfo
from fakescan.model.backbone import read_tensors

NAMES = ("convit_base", "convit_small", "convit_tiny")
"""timm's; D = 768, 432 and 192."""
SITES = ("qk", "v")
"""Linear maps of a gated block that have LoRAs: queries with keys, and values."""
HEAD = ("head.weight", "head.bias")
"""Of ImageNet's classes, which is not used."""


class Lora(nn.Module):
    """x -> (alpha / r) B A dropout(x)."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.scale, self.dropout = alpha / rank, dropout
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, d_in) -> (B, N, d_out)."""
        dropped = functional.dropout(x, self.dropout, self.training)
        return self.scale * ((dropped @ self.lora_A.T) @ self.lora_B.T)


class Adaptable(nn.Module):
    """A frozen linear map, plus the LoRA that is put there for the time of a pass."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.held: tuple[Lora, ...] = ()  # a tuple, so that it is no part of this module's state

    @property
    def weight(self) -> Tensor:
        """Of the frozen map, of which the network asks device and type."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, d_in) -> (B, N, d_out)."""
        out: Tensor = self.base(x)
        for lora in self.held:
            out = out + lora(x)
        return out


class ConViT(nn.Module):
    """The frozen network; D-wide embeddings of images."""

    def __init__(self, net: nn.Module) -> None:
        """Take timm's network, without its head; it becomes part of this one."""
        super().__init__()
        self.net = net.requires_grad_(False).eval()
        parts: Any = net
        self.width = int(parts.embed_dim)
        self.gated = int(parts.local_up_to_layer)
        """Number of gated blocks, which are the first."""
        self.image_px = int(parts.patch_embed.img_size[0])
        for block in parts.blocks[: self.gated]:
            for site in SITES:
                setattr(block.attn, site, Adaptable(getattr(block.attn, site)))

    def train(self, mode: bool = True) -> ConViT:
        """Stay as it is: nothing in it is trained."""
        del mode
        return self

    def site(self, block: int, name: str) -> Adaptable:
        """Where a LoRA can stand; blocks are counted from 1."""
        net: Any = self.net
        found = getattr(net.blocks[block - 1].attn, name)
        assert isinstance(found, Adaptable)
        return found

    def embed(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, N, D): what enters the first block."""
        net: Any = self.net
        tokens: Tensor = net.patch_embed(pixels)
        return tokens + net.pos_embed if net.use_pos_embed else tokens

    def features(self, tokens: Tensor) -> Tensor:
        """What `embed` gave -> (B, D), with whatever LoRAs stand at the sites."""
        net: Any = self.net
        x = tokens
        for number, block in enumerate(net.blocks):
            if number == self.gated:
                x = torch.cat([net.cls_token.expand(len(x), -1, -1), x], dim=1)
            x = block(x)
        out: Tensor = net.norm(x)[:, 0]
        return out

    def sha256(self) -> str:
        """Of names, shapes and float32 values of all tensors, as timm names them."""
        digest = hashlib.sha256()
        for name, value in sorted(plain_state(self).items()):
            digest.update(f"{name} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()


def plain_state(convit: ConViT) -> dict[str, Tensor]:
    """Its tensors under timm's names."""
    return {k.replace(".base.", "."): v for k, v in convit.net.state_dict().items()}


def load_convit(name: str, weights: Path | None) -> tuple[ConViT, BackboneInfo]:
    """A frozen ConViT with the user's weights.

    Args:
        name: one of `NAMES`.
        weights: a safetensors file with timm's names, such as timm/convit_base.fb_in1k's.

    Raises:
        ConfigError: another name, or no weights.
        WeightsError: they cannot be read, or do not fit.
    """
    if name not in NAMES:
        raise ConfigError(f"backbone {name!r}: preset lorax-paper runs on {', '.join(NAMES)}")
    if weights is None:
        raise ConfigError(
            f"{name}: its weights do not come with fakescan; give timm's model.safetensors "
            "with --backbone-weights"
        )
    convit = ConViT(network(name))
    _fill(convit, read_tensors(weights), str(weights))
    info = BackboneInfo(
        name=name,
        pretrained=weights.name,
        sha256=convit.sha256(),
        tower={"image_px": convit.image_px, "width": convit.width, "gated": convit.gated},
    )
    return convit, info


def network(name: str) -> nn.Module:
    """The network as timm has it, random weights, without its head."""
    import timm

    found = timm.create_model(name, pretrained=False, num_classes=0)
    assert isinstance(found, nn.Module)
    return found


def _fill(convit: ConViT, tensors: Mapping[str, Tensor], where: str) -> None:
    own = plain_state(convit)
    given = {k: v for k, v in tensors.items() if k not in HEAD}
    if lost := sorted(own.keys() - given.keys()):
        raise WeightsError(f"{where}: no tensor {lost[0]!r}; another architecture's weights?")
    for name, value in own.items():
        if given[name].shape != value.shape:
            raise WeightsError(
                f"{where}: {name} is {tuple(given[name].shape)}, "
                f"the network needs {tuple(value.shape)}"
            )
    if not all(bool(torch.isfinite(given[name]).all()) for name in own):
        raise WeightsError(f"{where}: holds values that are no numbers")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(given[name])
