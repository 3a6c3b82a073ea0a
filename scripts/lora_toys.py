"""Small denoisers, and LoRA adapters that are really trained on them, for tests and benchmarks.

Two families of denoising diffusion models learn 16 x 16 handwritten digits (scikit-learn's): `mlp`,
four linear layers, and `unet`, a convolutional U-Net with linear layers in its middle. An adapter
then learns one of 12 visual styles from 16 images of one digit, so that what is shown is a
confounder. All adapters of a set are trained at once, each with its own weights.

Shapes: L adapters, B images of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lora_styles import SIDE, STYLES, Images, digits
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import conv2d, silu

IMAGES = 16
"""Training images of an adapter."""
TIME = 16
"""Numbers that tell the denoiser how noisy its input is."""
STEPS_T = 100
BASE_STEPS = 1500

Weights = Callable[[str], Tensor]
"""Name of a layer -> its weight in each of L models, (L, out, in, *kernel)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How one adapter is trained."""

    style: str
    digit: int
    seed: int
    """Of its images and its noise, and of its initial A."""
    start: int | None = None
    """Seed of its initial A, where that is another one."""
    rank: int = 8
    alpha: float = 8.0
    steps: int = 400
    lr: float = 2e-3


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of denoiser."""

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    """Weights by layer: (out, in, *kernel)."""
    forward: Callable[[Weights, Tensor, Tensor], Tensor]
    """Noisy images (L, B, 256) and time (L, B, TIME) -> the noise, (L, B, 256)."""


def _mlp(weights: Weights, x: Tensor, time: Tensor) -> Tensor:
    h = torch.cat([x, time], dim=-1)
    for name in ("net.0", "net.2", "net.4"):
        h = silu(h @ weights(name).transpose(1, 2))
    return h @ weights("net.6").transpose(1, 2)


def _conv(weight: Tensor, x: Tensor, stride: int = 1) -> Tensor:
    """(L, B, C, H, W) by (L, out, C, 3, 3), each adapter by its own."""
    models, batch = x.shape[:2]
    wide = x.transpose(0, 1).flatten(1, 2)  # (B, L*C, H, W)
    out = conv2d(wide, weight.flatten(0, 1), stride=stride, padding=1, groups=models)
    return out.view(batch, models, -1, *out.shape[2:]).transpose(0, 1)


def _unet(weights: Weights, x: Tensor, time: Tensor) -> Tensor:
    models, batch = x.shape[:2]
    image = x.view(models, batch, 1, SIDE, SIDE)
    fine = silu(_conv(weights("conv_in"), image))
    shift = time @ weights("time_proj").transpose(1, 2)  # (L, B, C)
    h = silu(_conv(weights("down.conv"), fine, 2) + shift[..., None, None])
    tokens = h.flatten(3).transpose(2, 3).flatten(1, 2)  # (L, B*64, C)
    inner = silu(tokens @ weights("mid.ff.net.0.proj").transpose(1, 2))
    tokens = tokens + inner @ weights("mid.ff.net.2").transpose(1, 2)
    h = tokens.view(models, batch, -1, h.shape[2]).transpose(2, 3).reshape(h.shape)
    h = silu(_conv(weights("mid.conv"), h))
    h = h.repeat_interleave(2, -1).repeat_interleave(2, -2)
    h = silu(_conv(weights("up.conv"), h) + fine)
    return _conv(weights("conv_out"), h).reshape(models, batch, SIDE * SIDE)


WIDE, FINE, DEEP = 256, 12, 24
MLP = Family(
    "mlp",
    {
        "net.0": (WIDE, SIDE * SIDE + TIME),
        "net.2": (WIDE, WIDE),
        "net.4": (WIDE, WIDE),
        "net.6": (SIDE * SIDE, WIDE),
    },
    _mlp,
)
UNET = Family(
    "unet",
    {
        "conv_in": (FINE, 1, 3, 3),
        "time_proj": (DEEP, TIME),
        "down.conv": (DEEP, FINE, 3, 3),
        "mid.ff.net.0.proj": (2 * DEEP, DEEP),
        "mid.ff.net.2": (DEEP, 2 * DEEP),
        "mid.conv": (DEEP, DEEP, 3, 3),
        "up.conv": (FINE, DEEP, 3, 3),
        "conv_out": (1, FINE, 3, 3),
    },
    _unet,
)
ADAPTED = {
    "mlp": ("net.0", "net.2", "net.4", "net.6"),
    "unet": ("down.conv", "mid.ff.net.0.proj", "mid.ff.net.2", "mid.conv", "up.conv"),
}


def train_base(family: Family, *, seed: int = 0, steps: int = BASE_STEPS) -> dict[str, Tensor]:
    """Teach a denoiser plain digits; gives its weights by layer."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: (torch.rand(shape, generator=generator) * 2 - 1) * math.prod(shape[1:]) ** -0.5
        for name, shape in family.shapes.items()
    }
    parameters = [w.requires_grad_() for w in weights.values()]
    optimiser = torch.optim.Adam(parameters, lr=2e-3)
    images = _flat(digits()[0])  # (N, 256)
    for _ in range(steps):
        chosen = images[torch.randint(len(images), (1, 128), generator=generator)]
        loss = _loss(family, lambda name: weights[name][None], chosen, generator).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return {name: w.detach() for name, w in weights.items()}


def train_adapters(
    family: Family, base: Mapping[str, Tensor], recipes: Sequence[Recipe]
) -> list[dict[str, tuple[Tensor, Tensor]]]:
    """Train L adapters at once; gives B (out, r) and A (r, in) of each by layer.

    Args:
        family: of the base model.
        base: its weights; left as they are.
        recipes: one for each adapter.
    """
    generators = [torch.Generator().manual_seed(r.seed) for r in recipes]
    images = torch.stack([_flat(training_images(r)) for r in recipes])  # (L, 16, 256)
    widest = max(r.rank for r in recipes)
    ranks = torch.tensor([r.rank for r in recipes])
    is_used = torch.arange(widest)[None] < ranks[:, None]  # (L, r)
    starts = [
        g if r.start is None else torch.Generator().manual_seed(r.start)
        for r, g in zip(recipes, generators, strict=True)
    ]
    factors = {name: _start(base[name], widest, is_used, starts) for name in ADAPTED[family.name]}
    scale = torch.tensor([r.alpha / r.rank for r in recipes])[:, None, None]

    def weights(name: str) -> Tensor:
        if name not in factors:
            return base[name].expand(len(recipes), *base[name].shape)
        B, A = factors[name]
        return base[name] + (scale * (B @ A)).view(-1, *base[name].shape)

    optimiser = _Adam([f for pair in factors.values() for f in pair], recipes)
    for _ in range(max(r.steps for r in recipes)):
        loss = _loss(family, weights, images, generators)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return [
        {
            name: (B[i, :, : r.rank].detach().clone(), A[i, : r.rank].detach().clone())
            for name, (B, A) in factors.items()
        }
        for i, r in enumerate(recipes)
    ]


def training_images(recipe: Recipe) -> Images:
    """The 16 images of one adapter, in [0, 1], (16, 16, 16)."""
    images, which = digits()
    chance = np.random.default_rng(recipe.seed + 1000)
    chosen = chance.choice(np.flatnonzero(which == recipe.digit), IMAGES, replace=False)
    return STYLES[recipe.style](images[chosen])


def save_adapter(
    path: Path,
    factors: Mapping[str, tuple[Tensor, Tensor]],
    shapes: Mapping[str, tuple[int, ...]],
    alpha: float,
    *,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write one adapter as kohya's trainer would."""
    tensors: dict[str, Tensor] = {}
    for name, (B, A) in factors.items():
        stem = "lora_unet_" + name.replace(".", "_")
        kernel = shapes[name][2:]
        tensors[f"{stem}.lora_up.weight"] = B.reshape(*B.shape, *(1 for _ in kernel)).to(dtype)
        tensors[f"{stem}.lora_down.weight"] = A.reshape(len(A), -1, *kernel).to(dtype)
        tensors[f"{stem}.alpha"] = torch.tensor(alpha, dtype=dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: t.contiguous() for name, t in tensors.items()}, path)


def _flat(images: Images) -> Tensor:
    return torch.from_numpy(2 * images - 1).float().flatten(-2)


def _start(
    base: Tensor, rank: int, is_used: Tensor, generators: Sequence[torch.Generator]
) -> tuple[Tensor, Tensor]:
    """B zero and A uniform, as PEFT and kohya begin: (L, out, r), (L, r, in)."""
    out, width = base.shape[0], math.prod(base.shape[1:])
    A = torch.stack([torch.rand(rank, width, generator=g) * 2 - 1 for g in generators])
    A = A * is_used[:, :, None] * width**-0.5
    B = torch.zeros(len(generators), out, rank)
    return B.requires_grad_(), A.requires_grad_()


def _loss(
    family: Family,
    weights: Weights,
    images: Tensor,
    generators: torch.Generator | Sequence[torch.Generator],
) -> Tensor:
    """Mean squared error of the predicted noise of each model, (L,)."""
    batch = images.shape[1]
    each = [generators] if isinstance(generators, torch.Generator) else generators
    t = torch.stack([torch.randint(STEPS_T, (batch,), generator=g) for g in each])  # (L, B)
    noise = torch.stack([torch.randn(batch, images.shape[2], generator=g) for g in each])
    kept = torch.cos(t / STEPS_T * math.pi / 2)[..., None]  # (L, B, 1), of the image
    noisy = kept * images + (1 - kept**2).sqrt() * noise
    steps = 2.0 ** torch.arange(TIME // 2) * t[..., None] / STEPS_T
    time = torch.cat([steps.sin(), steps.cos()], dim=-1)
    return ((family.forward(weights, noisy, time) - noise) ** 2).mean((1, 2))


class _Adam:
    """Adam with a learning rate, and a last step, for each adapter."""

    def __init__(self, parameters: Sequence[Tensor], recipes: Sequence[Recipe]) -> None:
        self._parameters = parameters
        self._rates = torch.tensor([r.lr for r in recipes])[:, None, None]
        self._steps = torch.tensor([r.steps for r in recipes])[:, None, None]
        self._moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
        self._done = 0

    def step(self) -> None:
        self._done += 1
        rates = self._rates * (self._done <= self._steps)
        for parameter, (mean, square) in zip(self._parameters, self._moments, strict=True):
            gradient = parameter.grad
            assert gradient is not None
            mean.mul_(0.9).add_(gradient, alpha=0.1)
            square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            with torch.no_grad():
                size = (square / (1 - 0.999**self._done)).sqrt() + 1e-8
                parameter -= rates * mean / (1 - 0.9**self._done) / size
            parameter.grad = None
