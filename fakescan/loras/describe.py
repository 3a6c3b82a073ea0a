"""A LoRA file -> what can be said of it, and its sketches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fakescan.errors import LoraError
from fakescan.loras.adapter import Adapter, read_adapter
from fakescan.loras.config import config_beside, config_inside
from fakescan.loras.family import family_of
from fakescan.loras.read import LoraFile, open_lora
from fakescan.loras.update import UNTRAINED, Update, updates

SHOWN_METADATA = (
    "modelspec.title",
    "modelspec.architecture",
    "ss_base_model_version",
    "ss_network_module",
    "ss_network_dim",
    "ss_network_alpha",
    "ss_num_train_images",
    "ss_resolution",
    "sshs_model_hash",
)
"""Others are large, or say more of the training images than their owner may know."""
MAX_SHOWN_LETTERS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class ModuleFacts:
    """One module, in numbers."""

    name: str
    """Canonical."""
    group: str
    shape: tuple[int, int]
    """Of dW: (m, n)."""
    rank: int
    """Of the factors as they are stored."""
    norm: float = 0.0
    """Frobenius norm of dW, with its scale."""
    effective_rank: float = 0.0
    stable_rank: float = 0.0
    reason: str | None = None
    """Why it is not compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a file's weights say, without an image."""

    dialect: str
    kinds: tuple[str, ...]
    family: str
    modules: tuple[ModuleFacts, ...]
    ignored: int
    """Tensors beside the factors that are not compared."""
    warnings: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Only of `SHOWN_METADATA`."""

    @property
    def compared(self) -> tuple[ModuleFacts, ...]:
        """Modules that take part in comparisons."""
        return tuple(m for m in self.modules if m.reason is None)

    @property
    def ranks(self) -> tuple[int, int]:
        """Lowest and highest."""
        ranks = [m.rank for m in self.modules]
        return min(ranks), max(ranks)

    @property
    def norm(self) -> float:
        """Frobenius norm of all updates together."""
        return math.hypot(*(m.norm for m in self.modules))


Take = Callable[[Update], None]


def describe(path: Path, take: Take | None = None) -> Description:
    """Read a file module by module.

    Args:
        path: of a safetensors file.
        take: gets every update as it comes; none is kept otherwise.

    Raises:
        LoraError: naming the file and why it cannot be used.
    """
    with read_file(path) as (file, adapter):
        facts = []
        for update in updates(file, adapter):
            facts.append(_facts(update))
            if take is not None:
                take(update)
        return _description(file, adapter, tuple(facts))


@contextmanager
def read_file(path: Path) -> Iterator[tuple[LoraFile, Adapter]]:
    """Open a file and sort its tensors into modules.

    Raises:
        LoraError: naming the file and why it cannot be used; also from within.
    """
    with open_lora(path) as file, _named(path):
        config = config_beside(path) or config_inside(file.header.metadata)
        yield file, read_adapter(file.header, config)


def module_key(name: str, shape: tuple[int, int]) -> str:
    """What two modules must share to be compared."""
    return f"{name} {shape[0]}x{shape[1]}"


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name before errors that lack it."""
    try:
        yield
    except LoraError as e:
        if str(e).startswith(f"{path}: "):
            raise
        raise type(e)(f"{path}: {e}") from e


def _facts(update: Update) -> ModuleFacts:
    found = update.spectrum
    return ModuleFacts(
        name=update.name,
        group=update.group.value,
        shape=update.shape,
        rank=update.rank,
        norm=found.norm if found else 0.0,
        effective_rank=found.effective_rank if found else 0.0,
        stable_rank=found.stable_rank if found else 0.0,
        reason=update.reason,
    )


def _description(file: LoraFile, adapter: Adapter, facts: tuple[ModuleFacts, ...]) -> Description:
    metadata = file.header.metadata
    family, claimed = family_of(((m.name, m.shape) for m in facts), metadata)
    return Description(
        dialect=adapter.dialect,
        kinds=tuple(sorted({m.kind.value for m in adapter.modules})),
        family=family,
        modules=facts,
        ignored=adapter.ignored,
        warnings=(*adapter.warnings, *_warnings(adapter, facts, family, claimed)),
        metadata={k: metadata[k][:MAX_SHOWN_LETTERS] for k in SHOWN_METADATA if k in metadata},
    )


def _warnings(
    adapter: Adapter, facts: tuple[ModuleFacts, ...], family: str, claimed: str | None
) -> Iterator[str]:
    if any(module.is_dora for module in adapter.modules):
        yield "DoRA: magnitudes need the base model and are left out"
    untrained = sum(m.reason == UNTRAINED for m in facts)
    if untrained:
        yield f"{untrained} of {len(facts)} modules are untrained"
    bad = [m for m in facts if m.reason not in (None, UNTRAINED)]
    if bad:
        yield f"{len(bad)} of {len(facts)} modules are left out: {bad[0].reason}"
    if any(m.rank > min(m.shape) > 0 for m in facts):
        yield "its rank is higher than some layers can use"
    if claimed:
        yield f"claims to be for {claimed}, has the shapes of {family}"
