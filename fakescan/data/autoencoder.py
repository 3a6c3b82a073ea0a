"""A small convolutional image autoencoder, whose round trip makes the fake of an aligned pair.

Source: TAESD and its successors (madebyollin/taesd, MIT): TAEF2 is the tiny autoencoder
distilled from FLUX.2's VAE. The layer list is read off the tensor names and shapes of
`encoder.safetensors` and `decoder.safetensors`, so any autoencoder of that form loads.

Shapes: B images, h, w multiples of 8, L latent channels.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fakescan.errors import WeightsError

STRIDE_PX = 8
"""Pixels per latent cell, so the factor that heights and widths must be multiples of."""
WIDTH = 64
POOL_WIDTH = 256
POOL_GROUPS = 4


class Block(nn.Module):
    """Three 3x3 convolutions plus the input, then ReLU.

    With `has_pool`, a branch that mixes over the whole picture is added to the input first.
    """

    def __init__(self, *, has_pool: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH)
        )
        self.pool = _pool() if has_pool else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, 64, h, w) -> (B, 64, h, w)."""
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class SoftClamp(nn.Module):
    """3 tanh(x / 3): keeps latents within the range that the decoder was trained on."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return torch.tanh(x / 3) * 3


class Autoencoder(nn.Module):
    """Frozen encoder and decoder; float32."""

    def __init__(self, encoder: nn.Sequential, decoder: nn.Sequential) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False).eval()
        self.decoder = decoder.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """RGB in [0, 1], (B, 3, h, w) -> its round trip, same shape and range."""
        if x.shape[-1] % STRIDE_PX or x.shape[-2] % STRIDE_PX:
            raise ValueError(f"height and width must be multiples of 8, got {tuple(x.shape)}")
        out: Tensor = self.decoder(self.encoder(x)).clamp(0, 1)
        return out

    def fingerprint(self) -> str:
        """First 16 hex digits of the sha256 of all tensors, by name."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()[:16]


def load_autoencoder(folder: Path) -> Autoencoder:
    """Read `encoder.safetensors` and `decoder.safetensors` of one folder.

    Raises:
        WeightsError: a file is missing, or its tensors are not of this form.
    """
    return Autoencoder(_load(folder, "encoder"), _load(folder, "decoder"))


def _load(folder: Path, part: str) -> nn.Sequential:
    path = folder / f"{part}.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such file; an autoencoder folder holds encoder.safetensors and "
            "decoder.safetensors"
        )
    try:
        tensors = {key: value.float() for key, value in load_file(path).items()}
        module = _encoder(tensors) if part == "encoder" else _decoder(tensors)
        module.load_state_dict(tensors, strict=True)
    except (SafetensorError, KeyError, RuntimeError) as e:
        reason = str(e).splitlines()[0]
        raise WeightsError(f"{path}: not an autoencoder of the TAESD form ({reason})") from e
    return module


def _encoder(tensors: dict[str, Tensor]) -> nn.Sequential:
    latent = tensors["14.weight"].shape[0]
    return nn.Sequential(
        _conv(3, WIDTH),
        *_blocks(tensors, 1, 1),
        _down(),
        *_blocks(tensors, 3, 3),
        _down(),
        *_blocks(tensors, 7, 3),
        _down(),
        *_blocks(tensors, 11, 3),
        _conv(WIDTH, latent),
    )


def _decoder(tensors: dict[str, Tensor]) -> nn.Sequential:
    latent = tensors["1.weight"].shape[1]
    return nn.Sequential(
        SoftClamp(),
        _conv(latent, WIDTH),
        nn.ReLU(),
        *_blocks(tensors, 3, 3),
        *_up(),
        *_blocks(tensors, 8, 3),
        *_up(),
        *_blocks(tensors, 13, 3),
        *_up(),
        *_blocks(tensors, 18, 1),
        _conv(WIDTH, 3),
    )


def _blocks(tensors: dict[str, Tensor], first: int, count: int) -> list[Block]:
    return [Block(has_pool=f"{i}.pool.0.weight" in tensors) for i in range(first, first + count)]


def _pool() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(WIDTH, POOL_WIDTH, 1, bias=False),
        nn.GroupNorm(POOL_GROUPS, POOL_WIDTH),
        nn.ReLU(),
        nn.Conv2d(POOL_WIDTH, WIDTH, 1, bias=False),
    )


def _conv(d_in: int, d_out: int) -> nn.Conv2d:
    return nn.Conv2d(d_in, d_out, 3, padding=1)


def _down() -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False)


def _up() -> list[nn.Module]:
    return [nn.Upsample(scale_factor=2), nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)]
