"""`fakescan attribute`: what a bundle knows, one task less, its export, and whether it is whole."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fakescan.cli import attribute_options as shared


def list_(attr: shared.Attributor, format_: shared.FormatOption = None) -> None:
    """List what an attributor knows: tasks, classes, images, and how it was learnt."""
    from fakescan.attribute.bundle import read_manifest

    manifest = read_manifest(attr)
    tasks = {task.name: task for task in manifest.tasks}
    rows = [
        {
            "task": c.task,
            "kind": c.kind,
            "name": c.name,
            "images": c.images,
            "seconds": tasks[c.task].seconds,
            "adapter": tasks[c.task].adapter.path,
        }
        for c in manifest.classes
    ]
    facts = {
        "backbone": manifest.backbone.name,
        "preset": manifest.design.preset,
        "memory": {"mode": manifest.memory.mode, "limit": manifest.memory.limit},
        "temperature": manifest.rules.temperature,
        "unknown_below": manifest.rules.unknown_below,
        "false_unknown": manifest.rules.false_unknown,
    }
    columns = ("task", "kind", "name", "images", "seconds", "adapter")
    shared.write("list", columns, rows, facts, format_, None)
    shared.note(
        f"{attr}: {len(manifest.tasks)} tasks, {len(manifest.classes)} classes, "
        f"{manifest.design.preset} on {manifest.backbone.name}"
    )


def remove_task(
    attr: shared.Attributor,
    task: Annotated[str, typer.Argument(metavar="NAME", help="Task to forget.")],
    backbone_weights: shared.BackboneWeights = None,
) -> None:
    """Forget one task: its classes, its adapter and its exemplars; the others stay as they are."""
    with shared.extra("remove-task"):
        from fakescan.attribute.book import Machine
        from fakescan.attribute.forget import remove_task as forget

        manifest = forget(attr, task, Machine(weights=backbone_weights))
    names = ", ".join(record.name for record in manifest.tasks)
    shared.note(f"{attr}: forgot {task}; it still knows {names}")


class Precision(StrEnum):
    """How the tower's matrices are kept."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


def export(
    attr: shared.Attributor,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write it.", show_default="in ATTR, for scans"),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="How the frozen tower's weights are kept.")
    ] = Precision.FP32,
    backbone_weights: shared.BackboneWeights = None,
) -> None:
    """Write an attributor as one ONNX file, which `fakescan scan --attribute` uses without torch.

    The file holds the backbone once, all adapters and the classifier. It is kept only if it says
    of the package's pictures what the attributor says.
    """
    with shared.extra("export"):
        from fakescan.attribute.bundle import EXPORTED
        from fakescan.attribute.export import export as write
        from fakescan.attribute.store import open_bundle

        opened = open_bundle(attr, weights=backbone_weights)
        report = write(opened, out or attr / EXPORTED, precision.value)
    shared.note(
        f"{report.path}: {report.bytes / 1e6:.1f} MB; on {report.images} pictures logits differ "
        f"from torch by at most {report.max_difference:.1g}, {report.flips} answers change"
    )


def verify(attr: shared.Attributor, backbone_weights: shared.BackboneWeights = None) -> None:
    """Check every file of an attributor, its backbone, and whether its export is up to date."""
    with shared.extra("verify"):
        from fakescan.attribute.audit import audit

        found = audit(attr, weights=backbone_weights)
    for line in found:
        shared.note(f"{attr}: {line}")
