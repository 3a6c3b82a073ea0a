"""One process, or several under torchrun: each step's units are split over them, gradients summed.

Source: torchrun's environment variables (RANK, WORLD_SIZE, LOCAL_RANK), PyTorch documentation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

from fakescan.errors import ConfigError

T = TypeVar("T")
CPU = torch.device("cpu")
PATIENCE = timedelta(days=7)
"""How long the others wait while the first builds the cache."""


@dataclass(frozen=True, slots=True)
class Processes:
    """Which of how many this is."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU

    @property
    def is_first(self) -> bool:
        """The one that writes."""
        return self.rank == 0

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its sum over all processes."""
        if self.world == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        distributed.all_reduce(flat)
        for tensor, part in zip(
            tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True
        ):
            tensor.copy_(part.view_as(tensor))

    def share(self, value: T) -> T:
        """The first process's value, in all of them."""
        if self.world == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def share_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by the first process's."""
        if self.world > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the other processes, if torchrun started any; leave them at the end.

    Args:
        device: auto, cpu or cuda.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    place = choose_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if world == 1:
        yield Processes(device=place)
        return
    distributed.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(distributed.get_rank(), world, place)
        distributed.barrier()  # nobody leaves while another still talks
    finally:
        distributed.destroy_process_group()


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device called auto, cpu or cuda.

    Raises:
        ConfigError: cuda without a GPU, or an unknown name.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {name!r}; known: auto, cpu, cuda")
    if name == "cpu" or not torch.cuda.is_available():
        if name == "cuda":
            raise ConfigError("device cuda: torch finds no GPU; use --device cpu")
        return torch.device("cpu")
    device = torch.device("cuda", local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device
