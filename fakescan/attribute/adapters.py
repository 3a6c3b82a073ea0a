"""T feature extractors over one frozen backbone: phi_t is the backbone with the LoRAs of task t.

    E(x) = [frozen features; phi_0(x); ...; phi_{T-1}(x)]

Source: LoRAX, arXiv 2504.08149, section 3, where there are no frozen features.

Shapes: B images, S image side, F0 frozen features, F1 features of one task, T tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from fakescan.attribute.design import Design
from fakescan.errors import AttributorError
from fakescan.image import Preprocess
from fakescan.model.detector import Trunk

if TYPE_CHECKING:
    from fakescan.train.settings import CacheConfig
    from fakescan.train.trunk import Maker


class Extractors(nn.Module, ABC):
    """What all presets share: tasks are added one by one, and each has tensors of its own."""

    design: Design
    tasks: nn.ModuleList

    @property
    @abstractmethod
    def frozen_features(self) -> int:
        """F0, features that no task changes."""

    @property
    @abstractmethod
    def own_features(self) -> int:
        """F1, features of one task."""

    @abstractmethod
    def emptied(self) -> Self:
        """The same backbone, shared, without any task."""

    @abstractmethod
    def grow(self) -> None:
        """Add an extractor that still equals the frozen backbone."""

    @abstractmethod
    def trunk(self, pixels: Tensor) -> Trunk:
        """(B, 3, S, S) normalised -> what no task changes."""

    @abstractmethod
    def one(self, task: int, trunk: Trunk) -> Tensor:
        """phi_t of a batch, (B, F1), with gradients."""

    @abstractmethod
    def sha256(self) -> str:
        """Of the frozen backbone."""

    @abstractmethod
    def maker(self, preprocess: Preprocess, cache: CacheConfig) -> Maker:
        """What makes trunks from crops."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self.parameters()).device

    def extended(self) -> Self:
        """These extractors, shared, and one more; this one stays as it is."""
        longer = self.emptied()
        longer.tasks.extend(self.tasks)
        longer.grow()
        return longer

    def parameters_of(self, task: int) -> list[nn.Parameter]:
        """What is trained in one task's extractor."""
        return list(self.tasks[task].parameters())

    def state_of(self, task: int) -> dict[str, Tensor]:
        """One task's adapters by name, such as `7.mlp.lora_A`."""
        return {k: v.detach().cpu().contiguous() for k, v in self.tasks[task].state_dict().items()}

    def load(self, state: dict[str, Tensor], where: str) -> None:
        """Add the extractor that `state_of` gave.

        Raises:
            AttributorError: its tensors are of another design, or not finite.
        """
        self.grow()
        own = self.tasks[-1].state_dict()
        if own.keys() != state.keys() or any(own[k].shape != state[k].shape for k in own):
            raise AttributorError(f"{where}: its tensors are not those of this attributor's design")
        if not all(bool(torch.isfinite(value).all()) for value in state.values()):
            raise AttributorError(f"{where}: holds values that are no numbers")
        self.tasks[-1].load_state_dict(state)

    def naive(self, trunk: Trunk, tasks: int | None = None) -> Tensor:
        """E of a batch, (B, F0 + T F1), task by task.

        Args:
            trunk: of the batch.
            tasks: use only the first so many.
        """
        count = len(self.tasks) if tasks is None else tasks
        return torch.cat([trunk.levels, *(self.one(t, trunk) for t in range(count))], -1)

    @torch.no_grad()
    def all(self, trunk: Trunk, tasks: int | None = None) -> Tensor:
        """What `naive` gives, in whichever way is fastest, without gradients."""
        return self.naive(trunk, tasks)
