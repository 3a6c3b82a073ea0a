"""The loop: epochs of weighted units, AdamW on experts and head, the best weights kept.

`Position` and the tensors beside it are all that it depends on, so it can stop after any step
and go on elsewhere. It knows nothing of files except the state's; figures leave by a callback.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from fakescan.errors import ConfigError
from fakescan.model.detector import DetectorModel, Trunk
from fakescan.train.parallel import Processes
from fakescan.train.sampling import Strata, Unit, batches, epoch_order, share_of, turn
from fakescan.train.settings import TrainConfig
from fakescan.train.state import (
    Position,
    adam_tensors,
    load_state,
    random_tensors,
    restore_adam,
    restore_random,
    save_state,
)
from fakescan.train.step import INITIAL_SCALE, LossScale, Part, StepComputer, StepLoss
from fakescan.train.trunks import Draw, Trunks
from fakescan.train.validate import Validation

State = dict[str, Tensor]


class Watcher(Protocol):
    """Is told what happens."""

    def step(self, position: Position, steps: int, values: dict[str, Any]) -> None:
        """One step of `steps` is done."""
        ...

    def epoch(self, position: Position, values: dict[str, Any]) -> None:
        """An epoch is done, or, before the first, the starting point was validated."""
        ...


@dataclass(frozen=True, slots=True)
class Material:
    """What the loop trains on."""

    strata: Strata
    labels: list[int]
    """Of every sample."""
    trunks: Trunks
    validate: Callable[[DetectorModel], Validation] | None
    """Unset: nothing was held out."""


class Loop:
    """Trains one model on one material."""

    def __init__(
        self, model: DetectorModel, config: TrainConfig, material: Material, processes: Processes
    ) -> None:
        self.model, self.config, self.material = model, config, material
        self.processes = processes
        self.optimizer = torch.optim.AdamW(
            [
                {"params": list(model.experts.parameters()), "factor": 1.0},
                {"params": list(model.head.parameters()), "factor": config.head_lr_factor},
            ],
            lr=config.lr,
            weight_decay=config.weight_decay,
        )
        is_fp16 = config.precision == "fp16"
        self.scale = LossScale(INITIAL_SCALE if is_fp16 else 0.0)
        self.computer = StepComputer(model, processes, config.precision, self.scale)
        self.position = Position(loss_scale=self.scale.scale)
        self.average: State = {}
        self.best: State = {}
        self.steps_per_epoch = len(batches(epoch_order(material.strata, 0, 0), config.batch_size))

    @property
    def steps(self) -> int:
        """Of all epochs."""
        return self.steps_per_epoch * self.config.epochs

    def begin(self) -> None:
        """Start from the model's present weights."""
        if self.config.averaging:
            self.average = {k: v.detach().clone() for k, v in self.model.trained_state().items()}
        is_probe = not self.model.experts and self.config.probe.enabled
        self.position.is_done = is_probe or self.config.epochs == 0

    def run(self, state_file: Path, watcher: Watcher) -> None:
        """Train from the present position to the end; the kept weights are in the model then."""
        if not self.position.total_steps and self.position.best is None:
            self._validate(watcher)
            self._save(state_file)
        while not self.position.is_done:
            self._epoch(state_file, watcher)
            self._validate(watcher)
            self._save(state_file)
        kept = self.best or self.average
        if kept:
            self.model.load_trained_state(kept, str(state_file))

    def resume(self, state_file: Path) -> None:
        """Take the position and all weights from a file.

        Raises:
            ConfigError: it is of another model or of other data.
        """
        position, groups = load_state(state_file)
        if position.samples != self.position.samples:
            raise ConfigError(
                f"{state_file.parent}: the images are not those that the run began with; "
                "start a new run"
            )
        if position.backbone != self.position.backbone:
            raise ConfigError(
                f"{state_file.parent}: made with another backbone, {position.backbone[:12]} and "
                f"not {self.position.backbone[:12]}; start a new run"
            )
        device = self.processes.device
        placed = {g: {k: v.to(device) for k, v in s.items()} for g, s in groups.items()}
        self.model.load_trained_state(placed["model"], str(state_file))
        restore_adam(self.optimizer, placed.get("adam", {}))
        restore_random(groups["random"])
        self.position = position
        self.average, self.best = placed.get("average", {}), placed.get("best", {})
        self.scale.scale, self.scale.steps = position.loss_scale, position.loss_scale_steps

    def _epoch(self, state_file: Path, watcher: Watcher) -> None:
        at = self.position
        order = epoch_order(self.material.strata, self.config.seed, at.epoch)
        steps = batches(order, self.config.batch_size)[at.step :]
        parts = self._parts(steps)
        self.model.train()
        for units in steps:
            images = sum(len(unit.samples) for unit in units)
            rate = learning_rate(at.total_steps, self.steps, self.config)
            loss = self._step(parts, images, rate)
            at.step, at.total_steps = at.step + 1, at.total_steps + 1
            watcher.step(at, self.steps, self._step_values(loss, rate))
            if at.total_steps % self.config.save_every == 0:
                self._save(state_file)
        at.epoch, at.step = at.epoch + 1, 0
        at.is_done = at.epoch == self.config.epochs

    def _step(self, parts: Iterator[Part | None], images: int, rate: float) -> StepLoss:
        self.optimizer.zero_grad(set_to_none=True)
        own = (next(parts) for _ in range(self.config.accumulate))
        loss = self.computer.gradients(own, images)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        gradients = (p.grad for p in self.model.trainable() if p.grad is not None)
        if self.scale.undo(gradients):
            self.optimizer.step()
            self._follow()
        self.position.loss_scale = self.scale.scale
        self.position.loss_scale_steps = self.scale.steps
        return loss

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the running mean; its decay rises from 0.1, so that it forgets the start."""
        step = self.position.total_steps
        decay = min(self.config.averaging, (1 + step) / (10 + step))
        state = self.model.trained_state()
        for name, value in self.average.items():
            value.lerp_(state[name], 1 - decay)

    def _parts(self, steps: list[list[Unit]]) -> Iterator[Part | None]:
        """This process's share of the steps; `accumulate` parts each, None where one is empty."""
        world, rank = self.processes.world, self.processes.rank
        views = self.config.views
        shares = [
            [(i, turn(views, self.position.epoch, unit)) for unit in part for i in unit.samples]
            for units in steps
            for part in share_of(units, rank, world, self.config.accumulate)
        ]
        trunks = self.material.trunks.stream([share for share in shares if share])
        for share in shares:
            yield self._part(next(trunks), share) if share else None

    def _part(self, trunk: Trunk, share: list[Draw]) -> Part:
        labels = [float(self.material.labels[i]) for i, _ in share]
        return Part(trunk, torch.tensor(labels, device=self.processes.device))

    def _step_values(self, loss: StepLoss, rate: float) -> dict[str, Any]:
        usage = dict(zip(self.computer.names, loss.usage, strict=True))
        return {
            "epoch": self.position.epoch,
            "bce": loss.bce,
            "load_balance": loss.load_balance,
            "lr": rate,
            "usage": usage,
        }

    def _validate(self, watcher: Watcher) -> None:
        """Let the first process judge the weights, and all of them keep the best."""
        if self.material.validate is None:
            return
        at, found = self.position, None
        if self.processes.is_first:
            self.model.eval()
            with self._averaged():
                found = self.material.validate(self.model)
        found = self.processes.share(found)
        assert found is not None
        figure = found.figure(self.config.monitor)
        is_best = at.best is None or figure > at.best
        if is_best:
            at.best, at.best_epoch = figure, at.epoch
            state = self.average or self.model.trained_state()
            self.best = {k: v.detach().clone() for k, v in state.items()}
        elif self.config.patience and at.epoch - at.best_epoch >= self.config.patience:
            at.is_done = True
        values = {"epoch": at.epoch, "validation": asdict(found), "is_best": is_best}
        watcher.epoch(at, values)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The running mean in the model's place, while it is judged."""
        if not self.average:
            yield
            return
        present = {k: v.clone() for k, v in self.model.trained_state().items()}
        self.model.load_trained_state(self.average, "average")
        yield
        self.model.load_trained_state(present, "average")

    def _save(self, state_file: Path) -> None:
        if not self.processes.is_first:
            return
        groups = {
            "model": self.model.trained_state(),
            "best": self.best,
            "average": self.average,
            "adam": adam_tensors(self.optimizer),
            "random": random_tensors(),
        }
        save_state(state_file, self.position, groups)


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Rate of the experts at step `step` of `steps`, from 0: linear rise, then cosine to 0."""
    rising = config.warmup * steps
    if step + 1 < rising:
        return config.lr * (step + 1) / rising
    if config.schedule == "constant":
        return config.lr
    share = (step + 1 - rising) / max(1.0, steps + 1 - rising)
    return config.lr * 0.5 * (1 + math.cos(math.pi * share))
