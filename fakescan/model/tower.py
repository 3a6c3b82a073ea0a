"""CLIP's image tower, written so that single blocks can be run, cached, adapted and exported.

Parameters carry open_clip's names, so a state dict of `model.visual` loads as it is.

    tokens = ln_pre([class; patches] + positions)
    x = x + ls_1(attn(ln_1(x)));  x = x + ls_2(mlp(ln_2(x)))      for every block
    embedding = ln_post(x[0]) proj

Source: Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", arXiv 2103.00020, section 2.4; open_clip's `VisionTransformer` for the names.

Shapes: B images, N tokens (class token first), D width, H heads, S image side.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from fakescan.errors import ConfigError

Activation = Literal["quick_gelu", "gelu", "gelu_tanh"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TowerConfig:
    """Sizes of a tower."""

    image_px: int = 224
    patch_px: int = 16
    width: int = 768
    blocks: int = 12
    """Blocks present; a tower cut after its first K blocks has K."""
    heads: int = 12
    mlp_width: int = 3072
    embed_dim: int = 512
    """Width of the projected embedding."""
    activation: Activation = "quick_gelu"
    norm_eps: float = 1e-5
    has_ln_pre: bool = True
    has_layer_scale: bool = False
    has_projection: bool = True
    """False for a cut tower: ln_post and proj belong to the last block's output."""
    pool: Literal["class", "mean"] = "class"
    """What the projection reads: the class token, or the mean patch token."""
    pools_first: bool = True
    """With `mean`: whether ln_post comes after the mean; it makes no difference for `class`."""

    def __post_init__(self) -> None:
        if self.width % self.heads or self.image_px % self.patch_px or self.blocks < 1:
            raise ConfigError(
                "tower: width must be a multiple of heads, image_px of patch_px, and blocks at "
                f"least 1, got width {self.width}, heads {self.heads}, image_px {self.image_px}, "
                f"patch_px {self.patch_px}, blocks {self.blocks}"
            )

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_px // self.patch_px

    @property
    def tokens(self) -> int:
        """N: patches and the class token."""
        return self.grid**2 + 1


class Attention(nn.Module):
    """Multi-head self-attention with packed q, k, v weights, as `nn.MultiheadAttention` names them.

    The four linear maps are separate calls, so that low-rank experts can stand beside each.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.normal_(self.in_proj_weight, std=width**-0.5)

    def project(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, 3 D): q, k and v side by side."""
        return functional.linear(x, self.in_proj_weight, self.in_proj_bias)

    def mix(self, qkv: Tensor) -> Tensor:
        """(B, N, 3 D) -> (B, N, D), heads side by side, before `out_proj`."""
        b, n, _ = qkv.shape
        q, k, v = qkv.view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (B, H, N, D/H) each
        mixed = functional.scaled_dot_product_attention(q, k, v)  # (B, H, N, D/H)
        return mixed.transpose(1, 2).reshape(b, n, -1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        out: Tensor = self.out_proj(self.mix(self.project(x)))
        return out


class LayerScale(nn.Module):
    """One learned factor a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape ending in D, kept."""
        return x * self.gamma


class Act(nn.Module):
    """The MLP's non-linearity."""

    def __init__(self, kind: Activation) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        if self.kind == "quick_gelu":
            return x * torch.sigmoid(1.702 * x)
        return functional.gelu(x, approximate="tanh" if self.kind == "gelu_tanh" else "none")


class Block(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        width = config.width
        self.ln_1 = nn.LayerNorm(width, eps=config.norm_eps)
        self.attn = Attention(width, config.heads)
        self.ls_1 = LayerScale(width) if config.has_layer_scale else nn.Identity()
        self.ln_2 = nn.LayerNorm(width, eps=config.norm_eps)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, config.mlp_width))
        self.mlp.add_module("gelu", Act(config.activation))
        self.mlp.add_module("c_proj", nn.Linear(config.mlp_width, width))
        self.ls_2 = LayerScale(width) if config.has_layer_scale else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x = x + self.ls_1(self.attn(self.ln_1(x)))
        out: Tensor = x + self.ls_2(self.mlp(self.ln_2(x)))
        return out


class Tower(nn.Module):
    """The frozen image tower, or its first blocks."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch_px
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positional_embedding = nn.Parameter(torch.randn(config.tokens, width) * width**-0.5)
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.ln_pre = norm if config.has_ln_pre else nn.Identity()
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.ln_post: nn.LayerNorm | None = None
        self.proj: nn.Parameter | None = None
        if config.has_projection:
            self.ln_post = nn.LayerNorm(width, eps=config.norm_eps)
            self.proj = nn.Parameter(torch.randn(width, config.embed_dim) * width**-0.5)
        self.requires_grad_(False)
        self.eval()

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks, lowest first; block k of the texts is `blocks[k - 1]`."""
        resblocks = self.transformer.resblocks
        assert isinstance(resblocks, nn.ModuleList)
        return resblocks

    def embed(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, N, D): what enters block 1."""
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)  # (B, N - 1, D)
        first = self.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)  # (B, 1, D)
        tokens = torch.cat([first, patches], dim=1) + self.positional_embedding.to(patches.dtype)
        out: Tensor = self.ln_pre(tokens)
        return out

    def project(self, tokens: Tensor) -> Tensor:
        """(B, N, D) after the last block -> (B, embed_dim), as CLIP's `encode_image`."""
        if self.ln_post is None or self.proj is None:
            raise ConfigError(
                "this tower is cut: it has no projection, so head 'final' cannot be used"
            )
        if self.config.pool == "class":
            pooled: Tensor = self.ln_post(tokens[:, 0])  # (B, D)
        elif self.config.pools_first:
            pooled = self.ln_post(tokens[:, 1:].mean(dim=1))
        else:
            pooled = self.ln_post(tokens[:, 1:]).mean(dim=1)
        return pooled @ self.proj

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, embed_dim)."""
        tokens = self.embed(pixels)
        for block in self.blocks:
            tokens = block(tokens)
        return self.project(tokens)

    def cut(self, depth: int, *, keep_projection: bool = True) -> Tower:
        """The first `depth` blocks as a tower that shares this one's parameters.

        Args:
            depth: blocks to keep.
            keep_projection: whether ln_post and proj stay; they go with the last block in any case.

        Raises:
            ConfigError: the tower has not that many blocks.
        """
        is_same_end = keep_projection or not self.config.has_projection
        if depth == self.config.blocks and is_same_end:
            return self
        if not 1 <= depth <= self.config.blocks:
            raise ConfigError(f"depth {depth}: this backbone has blocks 1 to {self.config.blocks}")
        config = replace(self.config, blocks=depth, has_projection=False)
        with torch.device("meta"):
            tower = Tower(config)
        wanted = tower.state_dict().keys()
        kept = {name: value for name, value in self.state_dict().items() if name in wanted}
        tower.load_state_dict(kept, strict=True, assign=True)
        tower.requires_grad_(False)
        return tower

    def sha256(self) -> str:
        """Of names, shapes and float32 values of all tensors."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            digest.update(f"{name} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()
