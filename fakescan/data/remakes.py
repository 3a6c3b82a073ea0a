"""How the fake of an aligned pair is made from its real: the kinds of pairs.

    round-trip   through the autoencoder
    noise        the latent plus Gaussian noise: the wavering texture that generators draw
    rescaled     the latent scaled down and up again
    reduced      the latent on fewer of its principal components: a narrower autoencoder
    twice        the round trip of the round trip
    masked       the round trip in a part of the picture, blended into the real
    upsampling   the real plus what a learnt upsampling leaves: the replicas of lower frequencies
                 that a plain interpolation suppresses; needs no autoencoder's help

All of them keep what is on the picture, so that only traces of making tell it from the real.

Source: `round-trip`, DDA (NeurIPS 2025); `masked`, B-Free (Guillaro et al., arXiv 2412.17671);
`upsampling`, Odena et al., "Deconvolution and checkerboard artifacts" (Distill, 2016), and Tan et
al., NPR (arXiv 2312.10461), which say that generators share these traces.

Shapes: h, w multiples of 8, L latent channels, P latent places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fakescan.data.autoencoder import Autoencoder

Kind = Literal["round-trip", "noise", "rescaled", "reduced", "twice", "masked", "upsampling"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Rng = np.random.Generator


class Remaker:
    """Makes fakes of one real; what several kinds need is computed once."""

    def __init__(self, real: Tensor, autoencoder: Autoencoder) -> None:
        """Take a real.

        Args:
            real: RGB in [0, 1], (1, 3, h, w).
            autoencoder: of the round trips.
        """
        self.real, self.autoencoder = real, autoencoder
        self._latent: Tensor | None = None
        self._round_trip: Tensor | None = None

    @torch.no_grad()
    def make(self, kind: Kind, rng: Rng) -> Tensor:
        """(1, 3, h, w) in [0, 1]."""
        return _MAKERS[kind](self, rng).clamp(0, 1)

    @property
    def latent(self) -> Tensor:
        """(1, L, h / 8, w / 8)."""
        if self._latent is None:
            self._latent = self.autoencoder.encoder(self.real)
        return self._latent

    @property
    def round_trip(self) -> Tensor:
        """(1, 3, h, w) in [0, 1]."""
        if self._round_trip is None:
            self._round_trip = self.decoded(self.latent).clamp(0, 1)
        return self._round_trip

    def decoded(self, latent: Tensor) -> Tensor:
        """(1, L, h / 8, w / 8) -> (1, 3, h, w), not yet clamped."""
        out: Tensor = self.autoencoder.decoder(latent)
        return out


def _noise(remaker: Remaker, rng: Rng) -> Tensor:
    sigma = float(rng.uniform(0.1, 0.35))
    return remaker.decoded(remaker.latent + sigma * _normal(rng, remaker.latent.shape))


def _rescaled(remaker: Remaker, rng: Rng) -> Tensor:
    latent = remaker.latent
    small = [max(1, round(side * float(rng.uniform(0.7, 0.9)))) for side in latent.shape[-2:]]
    there = functional.interpolate(latent, size=small, mode="bilinear", antialias=True)
    return remaker.decoded(functional.interpolate(there, size=latent.shape[-2:], mode="bicubic"))


def _reduced(remaker: Remaker, rng: Rng) -> Tensor:
    latent = remaker.latent[0].flatten(1)  # (L, P)
    mean = latent.mean(1, keepdim=True)  # (L, 1)
    basis = torch.linalg.svd(latent - mean, full_matrices=False)[0]  # (L, min(L, P))
    channels = basis.shape[1]
    kept = basis[:, : int(rng.integers(max(1, channels // 4), max(2, 3 * channels // 4)))]
    reduced = kept @ (kept.T @ (latent - mean)) + mean
    return remaker.decoded(reduced.reshape(remaker.latent.shape))


def _twice(remaker: Remaker, _: Rng) -> Tensor:
    again: Tensor = remaker.autoencoder.encoder(remaker.round_trip)
    return remaker.decoded(again)


def _masked(remaker: Remaker, rng: Rng) -> Tensor:
    """A smooth blob, or several, that cover 40 to 70 % of the picture."""
    seed = _normal(rng, (1, 1, 5, 5))
    field = functional.interpolate(
        seed, size=remaker.real.shape[-2:], mode="bicubic", align_corners=False
    )
    edge = torch.quantile(field, float(rng.uniform(0.3, 0.6)))
    share = (8 * (field - edge)).sigmoid()  # (1, 1, h, w)
    return remaker.real * (1 - share) + remaker.round_trip * share


def _upsampling(remaker: Remaker, rng: Rng) -> Tensor:
    real = remaker.real
    factor = int(rng.choice([2, 2, 4]))
    low = functional.avg_pool2d(real, factor)
    smooth = functional.interpolate(low, scale_factor=factor, mode="bicubic", align_corners=False)
    rough = _UPSAMPLINGS[int(rng.integers(len(_UPSAMPLINGS)))](low, factor, rng)
    kernel = 0.05 * _normal(rng, (3, 3))
    kernel[1, 1] += 1
    padded = functional.pad(rough.transpose(0, 1), (1, 1, 1, 1), mode="replicate")
    rough = functional.conv2d(padded, (kernel / kernel.sum())[None, None]).transpose(0, 1)
    return real + float(rng.uniform(0.2, 0.7)) * (rough - smooth)


def _nearest(low: Tensor, factor: int, _: Rng) -> Tensor:
    return functional.interpolate(low, scale_factor=factor, mode="nearest")


def _transposed(low: Tensor, factor: int, rng: Rng) -> Tensor:
    """A transposed convolution whose kernel overlaps itself unevenly: a checkerboard."""
    size = factor + 1
    kernel = torch.from_numpy(rng.normal(1, 0.15, (size, size)).astype(np.float32))
    kernel = kernel / kernel.sum() * factor**2
    height, width = (factor * side for side in low.shape[-2:])

    def spread(x: Tensor, weight: Tensor) -> Tensor:
        out = functional.conv_transpose2d(x, weight[None, None], stride=factor)
        return out[..., :height, :width]

    counts = spread(torch.ones_like(low[:, :1]), torch.ones(size, size))
    return spread(low.transpose(0, 1), kernel).transpose(0, 1) / counts.clamp_min(1)


def _shuffled(low: Tensor, factor: int, rng: Rng) -> Tensor:
    """Each place in a cell comes from a channel of its own, with a gain of its own."""
    gains = torch.from_numpy(rng.normal(1, 0.025, (1, 1, factor, factor)).astype(np.float32))
    gains = gains.repeat(1, 1, *low.shape[-2:])
    smooth = functional.interpolate(low, scale_factor=factor, mode="bilinear", align_corners=False)
    return smooth * gains


def _normal(rng: Rng, shape: tuple[int, ...] | torch.Size) -> Tensor:
    return torch.from_numpy(rng.normal(0, 1, tuple(shape)).astype(np.float32))


_UPSAMPLINGS: tuple[Callable[[Tensor, int, Rng], Tensor], ...] = (_nearest, _transposed, _shuffled)
_MAKERS: dict[Kind, Callable[[Remaker, Rng], Tensor]] = {
    "round-trip": lambda remaker, _: remaker.round_trip,
    "noise": _noise,
    "rescaled": _rescaled,
    "reduced": _reduced,
    "twice": _twice,
    "masked": _masked,
    "upsampling": _upsampling,
}
