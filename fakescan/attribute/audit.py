"""Is a bundle whole: every file, every exemplar, its backbone, its export?"""

from __future__ import annotations

from pathlib import Path

from fakescan.attribute import bundle
from fakescan.attribute.exemplars import is_unchanged, locate
from fakescan.attribute.export import compare
from fakescan.attribute.namer import TorchNamer
from fakescan.attribute.session import open_namer
from fakescan.attribute.store import Opened, open_bundle
from fakescan.errors import AttributorError


def audit(folder: Path, *, weights: Path | None = None) -> list[str]:
    """Lines that say what was checked.

    Args:
        folder: of the bundle.
        weights: of the backbone, where they lie elsewhere now.

    Raises:
        AttributorError: the first thing that is wrong.
    """
    opened = open_bundle(folder, weights=weights, with_memory=True)
    manifest = opened.manifest
    files = list(manifest.files())
    size = sum(stored.bytes for stored in files)
    lines = [
        f"{len(files)} files, {size / 1e6:.1f} MB, as the manifest means them",
        f"backbone {manifest.backbone.name} ({manifest.backbone.sha256[:12]}) is the right one",
        _memory(opened),
    ]
    exported = folder / bundle.EXPORTED
    if exported.is_file():
        report = compare(TorchNamer(opened), open_namer(folder, device="cpu"), exported)
        if report.flips:
            raise AttributorError(
                f"{exported}: says something else of {report.flips} of {report.images} pictures; "
                f"run again: fakescan attribute export {folder}"
            )
        lines.append(
            f"{bundle.EXPORTED} is up to date; logits differ from torch by at most "
            f"{report.max_difference:.1g}"
        )
    else:
        lines.append("not exported")
    return lines


def _memory(opened: Opened) -> str:
    mode, exemplars = opened.manifest.memory.mode, opened.attributor.exemplars
    if mode == "tokens" or not exemplars:
        return f"{len(exemplars)} exemplars ({mode})"
    lost = [
        e
        for e in exemplars
        if not is_unchanged(locate(e, opened.folder, is_copied=mode == "copies"), e.sha256)
    ]
    if lost and mode == "copies":
        raise AttributorError(f"{opened.folder}: {lost[0].path} is gone or changed")
    return f"{len(exemplars)} exemplars ({mode}), {len(lost)} of them gone or changed"
