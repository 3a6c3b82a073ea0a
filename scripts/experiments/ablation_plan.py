"""Which detectors an ablation trains: the rows of its tables, and how each is trained.

Rows of several tables that are the same detector are trained once. All runs see the same draws
of the same images; a smaller number of images lies inside a larger one. Nothing is held out: the
weights after the last epoch count, so that no row is saved by an early stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fakescan.errors import ConfigError
from fakescan.model.backbone import BackboneConfig
from fakescan.model.detector import ModelConfig
from fakescan.model.mole import MoLEConfig
from fakescan.train.settings import CacheConfig, ProbeConfig, TrainConfig

Head = Literal["final", "levels"]
LEVELS = (4, 6, 8)
"""What the shipped detector's head reads."""
PROBE_L2 = 0.1
"""As for the shipped detector (`weights/fakescan-vit-b16.toml`)."""
MIN_DEPTH = 4
"""So that the last 3 are not all."""
ALL = 0
"""Number of images that stands for all there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much is spent on one run."""

    images: int
    """Half real, half fake; `ALL`: as they are."""
    epochs: int
    draws: int
    batch_size: int
    sizes: tuple[int, ...]
    """Rows of the table on data size."""


BUDGETS = {
    "small": Budget(images=400, epochs=2, draws=2, batch_size=8, sizes=(100, 200, 400)),
    "full": Budget(images=ALL, epochs=8, draws=8, batch_size=16, sizes=(100, 200, 400, 800, ALL)),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """One detector, up to its seed."""

    model: ModelConfig
    """Resolved."""
    images: int

    @property
    def name(self) -> str:
        """Names the folders of its runs."""
        mole = self.model.mole
        parts: list[str] = [self.model.head]
        if mole.blocks:
            parts += [f"blocks{mole.blocks[0]}to{mole.blocks[-1]}", mole.site, mole.experts]
            parts += [".".join(map(str, mole.ranks))]
        else:
            parts += ["probe"]
        return "-".join([*parts, str(self.images or "all")])

    @property
    def is_cached(self) -> bool:
        """Whether anything frozen lies below the adapted blocks."""
        return self.model.mole.blocks != tuple(range(1, (self.model.depth or 0) + 1))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    name: str
    """As in the paper's table, or the number of images."""
    title: str
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Table:
    """One ablation."""

    name: str
    title: str
    rows: tuple[Row, ...]
    reference: str
    """The row that the others are compared with."""


def plan(head: Head, blocks: int, budget: Budget) -> tuple[Table, ...]:
    """All tables for a tower of that many blocks."""
    levels = tuple(k for k in LEVELS if k <= blocks) or (blocks,)
    base = ModelConfig(head=head, levels=levels if head == "levels" else ()).resolved(blocks)
    n = budget.images
    return (
        Table("adapted-blocks", "Adapted blocks", _adapted(base, n), "last3"),
        Table("adapter-design", "Adapter design", _designs(base, n), "e"),
        Table("ranks", "Ranks", _ranks(base, n), "8|4;8;16"),
        Table("data-size", "Training images", _sizes(base, budget.sizes), _size(budget.sizes[-1])),
    )


def _adapted(base: ModelConfig, images: int) -> tuple[Row, ...]:
    depth = base.depth or 0
    if depth < MIN_DEPTH:
        raise ConfigError(f"{depth} blocks: the ablations need at least {MIN_DEPTH}")
    last = [(f"last{k}", f"last {k}", k) for k in range(1, 7) if k < depth]
    return tuple(
        Row(name, title, Recipe(_on(base, blocks=tuple(range(depth - k + 1, depth + 1))), images))
        for name, title, k in (("none", "none", 0), *last, ("all", f"all {depth}", depth))
    )


def _designs(base: ModelConfig, images: int) -> tuple[Row, ...]:
    variants: tuple[tuple[str, str, dict[str, object]], ...] = (
        ("a", "(a) LoRA on MSA", {"site": "attention", "experts": "shared"}),
        ("b", "(b) shared LoRA on MLP", {"experts": "shared"}),
        ("c", "(c) LoRA on MSA and MLP", {"site": "both", "experts": "shared"}),
        ("d", "(d) separate LoRAs only", {"experts": "separate"}),
        ("e", "(e) shared and separate", {}),
    )
    return tuple(Row(n, t, Recipe(_on(base, **changes), images)) for n, t, changes in variants)


def _ranks(base: ModelConfig, images: int) -> tuple[Row, ...]:
    found = []
    for shared, separate in (
        (4, (4, 8, 16)),
        (8, (4, 8, 16)),
        (16, (4, 8, 16)),
        (8, (8, 16, 32)),
        (8, (4, 4, 4)),
        (8, (8, 8, 8)),
        (8, (8, 8, 8, 8)),
        (8, (4, 8, 16, 32)),
    ):
        model = _on(base, shared_rank=shared, separate_ranks=separate)
        name = f"{shared}|{';'.join(map(str, separate))}"
        title = f"{shared} + {', '.join(map(str, separate))}"
        found.append(Row(name, title, Recipe(model, images)))
    return tuple(found)


def _sizes(base: ModelConfig, sizes: Sequence[int]) -> tuple[Row, ...]:
    return tuple(Row(_size(n), _size(n), Recipe(base, n)) for n in sizes)


def _size(images: int) -> str:
    return str(images) if images else "all"


def _on(base: ModelConfig, **changes: object) -> ModelConfig:
    mole: MoLEConfig = replace(base.mole, **changes)  # type: ignore[arg-type]
    return replace(base, mole=mole)


def narrowed(
    tables: Sequence[Table], only: Sequence[str] | None, rows: Sequence[str] | None
) -> tuple[Table, ...]:
    """The named tables and rows; a table's reference always stays.

    Raises:
        ConfigError: an unknown name.
    """
    for wanted, known in (
        (only or (), [t.name for t in tables]),
        (rows or (), sorted({r.name for t in tables for r in t.rows})),
    ):
        for name in wanted:
            if name not in known:
                raise ConfigError(f"{name!r}: no such table or row; known: {', '.join(known)}")
    chosen = [t for t in tables if not only or t.name in only]
    if not rows:
        return tuple(chosen)
    return tuple(
        replace(t, rows=tuple(r for r in t.rows if r.name in rows or r.name == t.reference))
        for t in chosen
    )


def compared_with(tables: Sequence[Table], over: str) -> tuple[Table, ...]:
    """The tables, those that have a row of this name compared with it.

    Raises:
        ConfigError: none has it.
    """
    found = tuple(
        replace(t, reference=over) if over in [r.name for r in t.rows] else t for t in tables
    )
    if all(t.reference != over for t in found):
        raise ConfigError(f"{over!r}: no table has such a row")
    return found


def recipes(tables: Sequence[Table]) -> list[Recipe]:
    """All detectors, each once, in the order of the tables."""
    return list(dict.fromkeys(row.recipe for table in tables for row in table.rows))


def settings(
    recipe: Recipe, seed: int, budget: Budget, backbone: BackboneConfig, manifest: Path, cache: Path
) -> TrainConfig:
    """How a recipe is trained; the trunk cache is shared by all with the same first block."""
    return TrainConfig(
        data=(str(manifest),),
        seed=seed,
        backbone=backbone,
        model=recipe.model,
        draws=budget.draws,
        epochs=budget.epochs,
        batch_size=budget.batch_size,
        validation=0.0,
        patience=0,
        save_every=20,
        probe=ProbeConfig(l2=PROBE_L2),
        # Not split at the first adapted block, so that experts on the attention share the store.
        cache=CacheConfig(enabled=recipe.is_cached, folder=cache, split=False),
    )
