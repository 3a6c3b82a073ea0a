"""One optimiser step: loss, load balance and gradients over a global batch, however it is cut.

    loss = sum_i BCE_i / images + lambda sum_routers W sum_j f_j P_j

`images`, f and P are those of the whole step, over all parts and processes: splitting a step
over processes changes nothing but the order of sums. Parts of one process come one after
another, so f, which carries no gradient, is that of the parts so far; P is exact.

Shapes: R routers, W router width, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fakescan.model.detector import ATTENTION_SITES, DetectorModel, Trunk
from fakescan.train.parallel import Processes
from fakescan.train.settings import Precision
from fakescan.train.trunk import autocast

INITIAL_SCALE = 2.0**16
GROWTH_INTERVAL = 2000
"""Of fp16's loss scale: PyTorch's `GradScaler` defaults."""


@dataclass(frozen=True, slots=True)
class StepLoss:
    """What one step came to."""

    bce: float
    load_balance: float
    """Sum over routers; their number at best, 0 without routers."""
    usage: list[list[float]]
    """Share of tokens by router, then by column."""


@dataclass(slots=True)
class LossScale:
    """Keeps fp16 gradients above underflow; 0: off.

    Source: Micikevicius et al., "Mixed Precision Training", arXiv 1710.03740, section 3.2.
    """

    scale: float = 0.0
    steps: int = 0

    def apply(self, loss: Tensor) -> Tensor:
        """The loss to go backward from."""
        return loss * self.scale if self.scale else loss

    def undo(self, gradients: Iterable[Tensor]) -> bool:
        """Divide gradients again; False when they overflowed and the step must be left out."""
        if not self.scale:
            return True
        found = list(gradients)
        for gradient in found:
            gradient.div_(self.scale)
        if not all(bool(torch.isfinite(gradient).all()) for gradient in found):
            self.scale, self.steps = self.scale / 2, 0
            return False
        self.steps += 1
        if self.steps == GROWTH_INTERVAL:
            self.scale, self.steps = self.scale * 2, 0
        return True


@dataclass(frozen=True, slots=True)
class Part:
    """What one process computes at once; a process may have none."""

    trunk: Trunk
    labels: Tensor
    """(B,) float32"""


class StepComputer:
    """Gradients of one step."""

    def __init__(
        self, model: DetectorModel, processes: Processes, precision: Precision, scale: LossScale
    ) -> None:
        self.model, self.processes, self.precision = model, processes, precision
        self.scale = scale
        self.names = router_names(model)
        self.width = model.config.mole.width
        self.weight = model.config.mole.load_balance

    def gradients(self, parts: Iterator[Part | None], images: int) -> StepLoss:
        """Leave the step's gradients in the trained parameters.

        Args:
            parts: this process's; None where it has none but others may.
            images: in the whole step.
        """
        device = self.processes.device
        tokens = images * self.model.tower.config.tokens
        shape = (len(self.names), self.width)
        sent = torch.zeros(shape, dtype=torch.float64, device=device)  # (R, W)
        chances = torch.zeros(shape, dtype=torch.float64, device=device)
        bce = torch.zeros((), dtype=torch.float64, device=device)
        for part in parts:
            logit, routers = self._forward(part)
            counts = _counts(routers, shape, device)
            self.processes.sum([counts])
            sent += counts
            if part is None or logit is None:
                continue
            losses = functional.binary_cross_entropy_with_logits(
                logit.float(), part.labels, reduction="sum"
            )
            loss = losses / images
            bce += losses.detach()
            if routers:
                chance = torch.stack([r.flatten(0, -2).float().softmax(-1).sum(0) for r in routers])
                shares = (sent / sent.sum(1, keepdim=True)).float()  # (R, W)
                loss = loss + self.weight * self.width * (shares * chance).sum() / tokens
                chances += chance.detach()
            self.scale.apply(loss).backward()  # type: ignore[no-untyped-call]
        self.processes.sum([bce, chances])
        self._sum_gradients()
        shares64 = sent / sent.sum(1, keepdim=True).clamp_min(1)
        balance = self.width * (shares64 * chances).sum() / tokens
        return StepLoss(float(bce) / images, float(balance), shares64.tolist())

    def _forward(self, part: Part | None) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        if part is None:
            return None, ()
        with autocast(self.processes.device, self.precision):
            output = self.model.tail(part.trunk)
        return output.logit, output.router_logits

    def _sum_gradients(self) -> None:
        for parameter in self.model.trainable():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.processes.sum([p.grad for p in self.model.trainable() if p.grad is not None])


def router_names(model: DetectorModel) -> list[str]:
    """Block, or block and site, of every router, in the order of `Output.router_logits`."""
    if not model.config.mole.width:
        return []
    if model.config.mole.site == "mlp":
        return list(model.experts)
    sites = {"attention": ATTENTION_SITES, "both": (*ATTENTION_SITES, "mlp")}
    return [f"{k}.{site}" for k in model.experts for site in sites[model.config.mole.site]]


def _counts(routers: tuple[Tensor, ...], shape: tuple[int, int], device: torch.device) -> Tensor:
    """(R, W): tokens whose best column is j."""
    if not routers:
        return torch.zeros(shape, dtype=torch.float64, device=device)
    width = shape[1]
    found = [torch.bincount(r.detach().argmax(-1).flatten(), minlength=width) for r in routers]
    return torch.stack(found).to(torch.float64)
