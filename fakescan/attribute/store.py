"""Bundle <-> attributor: tensors and exemplars from and to the files that the manifest names."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

import fakescan
from fakescan.attribute import bundle
from fakescan.attribute.adapters import Extractors
from fakescan.attribute.attributor import Attributor
from fakescan.attribute.bundle import Manifest, Memory, Stored, TaskRecord
from fakescan.attribute.design import PAPER, Design
from fakescan.attribute.exemplars import Exemplar, copy_name, index_text, read_index
from fakescan.attribute.extractors import SharedTrunk
from fakescan.attribute.gated import HALF, GatedExtractors
from fakescan.attribute.settings import MemoryMode
from fakescan.attribute.softmax import Linear
from fakescan.config import to_dict
from fakescan.errors import AttributorError, ConfigError
from fakescan.image import Preprocess
from fakescan.model.backbone import Backbone, BackboneConfig, load_backbone
from fakescan.model.convit import load_convit
from fakescan.train.settings import DEFAULT_LEVELS
from fakescan.train.trunk import Rows

RESERVE_BYTES = 100_000_000
"""Left free on the disk."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle in memory."""

    folder: Path
    manifest: Manifest
    attributor: Attributor


def init(folder: Path, backbone: BackboneConfig, design: Design) -> Manifest:
    """Make a bundle that knows nothing yet.

    Raises:
        ConfigError: the folder is not empty, or the design does not fit the backbone.
        WeightsError: the backbone cannot be had.
    """
    if design.preset == PAPER:
        convit, info = load_convit(backbone.name, backbone.weights)
        design = GatedExtractors(convit).design
        preprocess = Preprocess(image_px=convit.image_px, mean=HALF, std=HALF)
    else:
        loaded = load_backbone(backbone)
        design = with_levels(design, loaded)
        tower = SharedTrunk(loaded.tower, design).base.tower
        info = replace(loaded.info, sha256=tower.sha256(), tower=to_dict(tower.config))
        preprocess = Preprocess(image_px=tower.config.image_px)
    manifest = Manifest(
        version=fakescan.__version__,
        design=design,
        backbone=info,
        backbone_name=backbone.name,
        backbone_weights=backbone.weights.absolute() if backbone.weights else None,
        preprocess=preprocess,
    )
    bundle.create(folder, manifest)
    return manifest


def empty_extractors(backbone: BackboneConfig, design: Design) -> Extractors:
    """Extractors of no task.

    Raises:
        ConfigError: a block or level that the backbone has not.
        WeightsError: the backbone cannot be had.
    """
    if design.preset == PAPER:
        return GatedExtractors(load_convit(backbone.name, backbone.weights)[0])
    return SharedTrunk(load_backbone(backbone).tower, design)


def with_levels(design: Design, backbone: Backbone) -> Design:
    """The design with levels, where it reads any and names none."""
    if design.head != "levels" or design.levels:
        return design
    blocks = backbone.tower.config.blocks
    levels = tuple(k for k in DEFAULT_LEVELS if k <= blocks)
    return replace(design, levels=levels or (blocks,))


def open_bundle(
    folder: Path,
    *,
    weights: Path | None = None,
    device: torch.device | None = None,
    with_memory: bool = False,
) -> Opened:
    """Load a bundle, every file checked.

    Args:
        folder: of the bundle.
        weights: of the backbone, where they lie elsewhere now.
        device: where it runs; None for the CPU.
        with_memory: load exemplars, too, which only the next task needs.

    Raises:
        AttributorError: damaged, or of another backbone.
        WeightsError: the backbone cannot be had.
    """
    manifest = bundle.read_manifest(folder)
    config = BackboneConfig(
        name=manifest.backbone_name, weights=weights or manifest.backbone_weights
    )
    try:
        extractors = empty_extractors(config, manifest.design)
    except ConfigError as e:
        raise AttributorError(f"{folder}: made for another backbone ({e})") from e
    found = extractors.sha256()
    if found != manifest.backbone.sha256:
        raise AttributorError(
            f"{folder}: learnt on {manifest.backbone.name} ({manifest.backbone.sha256[:12]}), "
            f"not on this backbone ({found[:12]})"
        )
    for task in manifest.tasks:
        extractors.load(tensors(folder, task.adapter), str(folder / task.adapter.path))
    extractors.to(device or torch.device("cpu"))
    attributor = Attributor(extractors, manifest.classes, _linear(folder, manifest, extractors))
    attributor.rules = manifest.rules
    if with_memory:
        _load_memory(folder, manifest, attributor)
    return Opened(folder, manifest, attributor)


def tensors(folder: Path, stored: Stored) -> dict[str, Tensor]:
    """What a safetensors file of the bundle holds.

    Raises:
        AttributorError: damaged, or not safetensors.
    """
    data = bundle.checked(folder, stored)
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as e:
        raise AttributorError(f"{folder / stored.path}: not a safetensors file ({e})") from e


def _linear(folder: Path, manifest: Manifest, extractors: Extractors) -> Linear | None:
    if manifest.head is None:
        return None
    found = tensors(folder, manifest.head)
    width = extractors.frozen_features + len(manifest.tasks) * extractors.own_features
    wanted = {"weight": (len(manifest.classes), width), "bias": (len(manifest.classes),)}
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    if shapes != wanted or not all(bool(torch.isfinite(v).all()) for v in found.values()):
        raise AttributorError(
            f"{folder / manifest.head.path}: a classifier of {shapes}, expected {wanted}"
        )
    return Linear(found["weight"].double().numpy(), found["bias"].double().numpy())


def _load_memory(folder: Path, manifest: Manifest, attributor: Attributor) -> None:
    memory = manifest.memory
    if memory.index is None:
        return
    text = bundle.checked(folder, memory.index)
    where = str(folder / memory.index.path)
    attributor.exemplars = tuple(read_index(text, where, len(manifest.classes)))
    if memory.tokens is None:
        return
    found = tensors(folder, memory.tokens)
    if "features" not in found or any(len(v) != len(attributor.exemplars) for v in found.values()):
        raise AttributorError(f"{folder / memory.tokens.path}: not the tokens of its exemplars")
    attributor.rows = Rows(found.get("tokens"), found.get("normed"), found["features"])


@dataclass(frozen=True, slots=True)
class Change:
    """What a new state is made of besides tensors."""

    tasks: tuple[TaskRecord, ...]
    memory: int
    mode: MemoryMode


def save_adapter(folder: Path, manifest: Manifest, extractors: Extractors) -> Stored:
    """Write the newest task's adapters under a name that was never used."""
    data = safetensors.torch.save(extractors.state_of(len(extractors.tasks) - 1))
    return bundle.write_file(folder, f"adapters/task_{manifest.next_task:03d}.safetensors", data)


def save_state(opened: Opened, attributor: Attributor, change: Change) -> Manifest:
    """Write classifier and memory, then the manifest that names them: only then they count."""
    folder, old = opened.folder, opened.manifest
    name = f"states/{old.state + 1:04d}"
    assert attributor.linear is not None
    head = {
        "weight": torch.from_numpy(attributor.linear.weight),
        "bias": torch.from_numpy(attributor.linear.bias),
    }
    stored = bundle.write_file(folder, f"{name}/head.safetensors", safetensors.torch.save(head))
    memory = _save_memory(folder, name, attributor, change)
    manifest = replace(
        old,
        version=fakescan.__version__,
        state=old.state + 1,
        next_task=old.next_task + (len(change.tasks) > len(old.tasks)),
        tasks=change.tasks,
        classes=attributor.classes,
        head=stored,
        memory=memory,
        rules=attributor.rules,
    )
    bundle.write_manifest(folder, manifest)
    bundle.clean(folder, manifest)
    if change.mode == "copies":
        _drop_copies(folder, attributor.exemplars)
    return manifest


def _save_memory(folder: Path, name: str, attributor: Attributor, change: Change) -> Memory:
    if change.mode == "none":
        return Memory(mode="none")
    text = index_text(attributor.exemplars)
    index = bundle.write_file(folder, f"{name}/memory.jsonl", text)
    tokens = None
    if attributor.rows is not None:
        rows = attributor.rows._asdict()
        kept = {k: v.contiguous() for k, v in rows.items() if v is not None}
        size = sum(v.numel() * v.element_size() for v in kept.values())
        if size + RESERVE_BYTES > bundle.free_bytes(folder):
            raise ConfigError(
                f"{folder}: {size / 1e9:.2f} GB of tokens do not fit on the disk; "
                "keep fewer with --memory, or use --memory-mode paths"
            )
        tokens = bundle.write_file(
            folder, f"{name}/tokens.safetensors", safetensors.torch.save(kept)
        )
    return Memory(mode=change.mode, limit=change.memory, index=index, tokens=tokens)


def keep_copies(folder: Path, exemplars: Sequence[Exemplar]) -> tuple[Exemplar, ...]:
    """Copy the files of exemplars into the bundle; those that lie there already stay."""
    kept = []
    for exemplar in exemplars:
        source = Path(exemplar.path)
        name = copy_name(source, exemplar.sha256)
        target = folder / name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            partial = target.with_name(f".{target.name}")
            shutil.copyfile(source, partial)
            partial.replace(target)
        kept.append(replace(exemplar, path=name))
    return tuple(kept)


def _drop_copies(folder: Path, exemplars: Sequence[Exemplar]) -> None:
    named = {folder / exemplar.path for exemplar in exemplars}
    for path in (folder / "copies").glob("*"):
        if path not in named:
            path.unlink()
