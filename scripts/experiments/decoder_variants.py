"""Decoders that start from an autoencoder's; decoder_pairs.py says which."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from fakescan.data.autoencoder import WIDTH

NAMES = ("transposed", "shuffle", "random", "quantised", "narrow", "adversarial")
CODES, GROUP, NARROW = 256, 4, 4
NOISE = 0.5
"""Over the spread of a layer's weights."""


class Quantise(nn.Module):
    """Each group of channels becomes the nearest of its codes."""

    codes: Tensor

    def __init__(self, cells: Tensor) -> None:
        """Fit the codes to cells (n, L)."""
        super().__init__()
        found = []
        for group in torch.split(cells, GROUP, dim=1):
            means = KMeans(CODES, n_init=1, max_iter=30, random_state=0).fit(group.numpy())
            found.append(torch.from_numpy(means.cluster_centers_).float())
        self.register_buffer("codes", torch.stack(found))  # (L / 4, 256, 4)

    def forward(self, z: Tensor) -> Tensor:
        """(B, L, h, w), kept."""
        groups = torch.unflatten(z.movedim(1, -1), -1, (-1, GROUP))  # (B, h, w, G, 4)
        found = [
            codes[torch.cdist(groups[..., i, :].flatten(0, 2), codes).argmin(1)]
            for i, codes in enumerate(self.codes)
        ]
        return torch.cat(found, dim=1).reshape(*groups.shape[:3], -1).movedim(-1, 1)


class Narrow(nn.Module):
    """Latents keep their first principal components alone."""

    mean: Tensor
    axes: Tensor

    def __init__(self, cells: Tensor) -> None:
        """Fit to cells (n, L)."""
        super().__init__()
        self.register_buffer("mean", cells.mean(0))
        axes = torch.linalg.svd(cells - cells.mean(0), full_matrices=False).Vh[:NARROW]
        self.register_buffer("axes", axes.contiguous())

    def forward(self, z: Tensor) -> Tensor:
        """(B, L, h, w), kept."""
        cells = z.movedim(1, -1) - self.mean
        return (cells @ self.axes.T @ self.axes + self.mean).movedim(-1, 1)


def random(_: nn.Conv2d) -> nn.Module:
    """A transposed convolution that knows nothing."""
    return nn.ConvTranspose2d(WIDTH, WIDTH, 4, stride=2, padding=1)


def transposed(conv: nn.Conv2d) -> nn.Module:
    """What repeats pixels and convolves, as one transposed convolution, and noise."""
    # Row y of the output reads rows y - 1, y, y + 1 of the repeated input: for y = 2 i that is
    # i - 1, i, i, for y = 2 i + 1 it is i, i, i + 1; row i meets row k = y + 1 - 2 i of the kernel.
    rows = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.float32)
    kernel = torch.einsum("ku,lv,oiuv->iokl", rows, rows, conv.weight)
    layer = nn.ConvTranspose2d(WIDTH, WIDTH, 4, stride=2, padding=1, bias=False)
    layer.weight = nn.Parameter(_noisy(kernel))
    return layer


def shuffled(conv: nn.Conv2d) -> nn.Module:
    """What repeats pixels and convolves, as four convolutions whose pixels interlock, and noise."""
    rows = torch.tensor([[[1, 0, 0], [0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 1, 0], [0, 0, 1]]])
    rows = rows.float()  # (a, k, u): of row 2 i + a, input row i - 1 + k, kernel row u
    kernel = torch.einsum("aku,blv,oiuv->oabikl", rows, rows, conv.weight)
    layer = nn.Conv2d(WIDTH, 4 * WIDTH, 3, padding=1, bias=False)
    layer.weight = nn.Parameter(_noisy(kernel.reshape(layer.weight.shape)))
    return nn.Sequential(layer, nn.PixelShuffle(2))


def _noisy(kernel: Tensor) -> Tensor:
    return kernel + NOISE * kernel.std() * torch.randn(kernel.shape)


UPSAMPLING = {"transposed": transposed, "shuffle": shuffled, "random": random}


def with_upsampling(
    decoder: nn.Sequential, make: Callable[[nn.Conv2d], nn.Module]
) -> nn.Sequential:
    """The decoder with other layers where it repeats pixels and convolves."""
    layers: list[nn.Module] = []
    for layer in decoder:
        if isinstance(layer, nn.Conv2d) and layers and isinstance(layers[-1], nn.Upsample):
            layers[-1] = make(layer)
        else:
            layers.append(deepcopy(layer))
    return nn.Sequential(*layers)


def make_decoder(name: str, decoder: nn.Sequential, cells: Tensor) -> nn.Sequential:
    """The decoder of one name, untrained; `cells` (n, L) are latents to fit to."""
    torch.manual_seed(0)
    if name in UPSAMPLING:
        return with_upsampling(decoder, UPSAMPLING[name])
    kept = [deepcopy(layer) for layer in decoder]
    if name == "quantised":
        return nn.Sequential(Quantise(cells), *kept)
    return nn.Sequential(*([Narrow(cells)] if name == "narrow" else []), *kept)
