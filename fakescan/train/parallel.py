"""One process, or several under torchrun: each step's units are split over them, gradients summed.

Source: torchrun's environment variables (RANK, WORLD_SIZE, LOCAL_RANK), PyTorch documentation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed

from fakescan.errors import ConfigError, FakescanError

T = TypeVar("T")
CPU = torch.device("cpu")
PATIENCE = timedelta(days=7)
"""How long processes wait for each other while they build the cache."""


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

    def together(self, make: Callable[[], T]) -> list[T]:
        """What every process makes, by rank; an error of one is raised in all.

        Raises:
            FakescanError: of the first process that had one.
        """
        if self.world == 1:
            return [make()]
        box: list[Any] = [None] * self.world
        try:
            mine: Any = make()
        except FakescanError as e:
            mine = e
        distributed.all_gather_object(box, mine)
        for found in box:
            if isinstance(found, FakescanError):
                raise found
        return box

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, in all of them; so is its error.

        Raises:
            FakescanError: as it was there.
        """
        found = self.together(lambda: make() if self.is_first else None)[0]
        return cast(T, found)

    def part_of(self, items: Sequence[T]) -> Sequence[T]:
        """This process's share of a list: neighbours, and as many as any other process has."""
        return items[
            len(items) * self.rank // self.world : len(items) * (self.rank + 1) // self.world
        ]

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
