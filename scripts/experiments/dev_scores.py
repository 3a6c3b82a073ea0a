"""Logits and figures of trained detectors on the development images, for all comparisons.

What the frozen blocks say of an image is computed once, in one pass for all cuts, and stored:

    crops.txt              keys of the images, in order
    tokens-K.npy           (n, N, D) float16   what enters block K
    level-K.npy            (n, 2 D) float32    class token and mean patch token after block K
    final.npy              (n, embed_dim) float32

A detector then only runs the blocks from its first adapted one on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.data.samples import Sample
from fakescan.errors import ConfigError
from fakescan.evaluate.benchmark import ScoreTable
from fakescan.evaluate.intervals import Estimate, resample
from fakescan.evaluate.metrics import weighted_ap_one_to_one, weighted_auc
from fakescan.evaluate.pairing import Pairing
from fakescan.image import Preprocess, normalise, open_picture, view
from fakescan.model.detector import DetectorModel, ModelConfig, Trunk
from fakescan.model.head import level_vector
from fakescan.model.tower import Tower

BATCH = 8
PAIRING = Path(__file__).with_name("pairing.toml")
Figures = dict[str, NDArray[np.float64]]
"""By name (auc, ap): mean over sources of fakes, (1 + resamples,), the data itself first."""


class FrozenViews:
    """The stored part of every detector on one tower, for images cut as a scan cuts them."""

    def __init__(self, folder: Path, samples: Sequence[Sample], preprocess: Preprocess) -> None:
        if preprocess.crops != 1:
            raise ConfigError(
                "only the middle square is stored here; compare detectors that look at several "
                "with `fakescan evaluate --model RUN --model RUN`"
            )
        self.folder, self.samples, self.preprocess = folder, samples, preprocess

    def logits(self, model: DetectorModel) -> NDArray[np.float64]:
        """Of every image, (n,), float32 arithmetic; what is not stored yet is computed."""
        self.prepare(model.tower, [model.config])
        device = next(model.parameters()).device
        arrays = self._arrays(model)
        found = []
        for start in range(0, len(self.samples), BATCH):
            part = {
                name: torch.from_numpy(np.array(values[start : start + BATCH])).float().to(device)
                for name, values in arrays.items()
            }
            with torch.no_grad():
                output = model.tail(Trunk(part.get("tokens"), None, part["levels"]))
            found.append(output.logit.double().cpu().numpy())
        return np.concatenate(found)

    def prepare(self, tower: Tower, configs: Iterable[ModelConfig]) -> None:
        """Store all that these detectors need, in one pass through their tower.

        Args:
            tower: theirs, cut after the last block that is used.
            configs: resolved, of the same depth.
        """
        folder = self._folder(tower)
        names = {name for config in configs for name in needed(config)}
        missing = sorted(name for name in names if not (folder / f"{name}.npy").exists())
        if not missing:
            return
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "crops.txt").write_text("".join(f"{s.key}\n" for s in self.samples))
        stored: dict[str, NDArray[np.generic]] = {}
        for start, pixels in self._pixels():
            found = _pass(tower, pixels.to(next(tower.parameters()).device), missing)
            for name, values in found.items():
                if name not in stored:
                    stored[name] = np.lib.format.open_memmap(
                        folder / f"{name}.partial",
                        mode="w+",
                        dtype=values.dtype,
                        shape=(len(self.samples), *values.shape[1:]),
                    )
                stored[name][start : start + len(values)] = values
        for name in missing:
            stored.pop(name).flush()  # type: ignore[attr-defined]
            (folder / f"{name}.partial").replace(folder / f"{name}.npy")

    @property
    def digest(self) -> str:
        """Names the images and their order."""
        keys = "\0".join(s.key for s in self.samples)
        return hashlib.sha256(keys.encode("utf-8", "surrogateescape")).hexdigest()

    def _arrays(self, model: DetectorModel) -> dict[str, NDArray[np.generic]]:
        folder = self._folder(model.tower)
        arrays: dict[str, NDArray[np.generic]] = {}
        levels = [np.zeros((len(self.samples), 0), np.float32)]
        for name in needed(model.config):
            stored = np.load(folder / f"{name}.npy", mmap_mode="r")
            if name.startswith("tokens"):
                arrays["tokens"] = stored
            else:
                levels.append(stored)
        return {**arrays, "levels": np.concatenate(levels, axis=1)}

    def _folder(self, tower: Tower) -> Path:
        key = f"{tower.sha256()} {self.preprocess} {self.digest}"
        return self.folder / hashlib.sha256(key.encode()).hexdigest()[:12]

    def _pixels(self) -> Iterator[tuple[int, torch.Tensor]]:
        for start in range(0, len(self.samples), BATCH):
            chosen = self.samples[start : start + BATCH]
            crops = [view(open_picture(s.path).image, self.preprocess) for s in chosen]
            yield start, torch.from_numpy(normalise(np.stack(crops), self.preprocess))


def needed(config: ModelConfig) -> list[str]:
    """Names of the stored parts that a detector starts from: tokens, then levels from below."""
    blocks = config.mole.blocks
    if not blocks:
        return [f"level-{k}" for k in config.levels] or ["final"]
    return [f"tokens-{blocks[0]}", *(f"level-{k}" for k in config.levels if k < blocks[0])]


@torch.no_grad()
def _pass(
    tower: Tower, pixels: torch.Tensor, names: Sequence[str]
) -> dict[str, NDArray[np.generic]]:
    """The named parts for a batch, (B, 3, S, S)."""
    found: dict[str, NDArray[np.generic]] = {}
    tokens = tower.embed(pixels)
    for number, block in enumerate(tower.blocks, 1):
        if f"tokens-{number}" in names:
            found[f"tokens-{number}"] = tokens.half().cpu().numpy()
        tokens = block(tokens)
        if f"level-{number}" in names:
            found[f"level-{number}"] = level_vector(tokens).cpu().numpy()
    if "final" in names:
        found["final"] = tower.project(tokens).float().cpu().numpy()
    return found


def mean_figures(table: ScoreTable, pairing: Pairing) -> Figures:
    """AUC and AP at 1:1 as `evaluate_by_source` means them, with every resample's value."""
    sources = np.array([s.source for s in table.samples])
    labels = np.array([s.label for s in table.samples])
    strata = np.unique([f"{s.label} {s.source}" for s in table.samples], return_inverse=True)[1]
    weights = np.vstack([np.ones((1, len(labels))), resample(strata)])
    found: dict[str, list[NDArray[np.float64]]] = {"auc": [], "ap": []}
    for source in sorted(set(sources[labels == 1])):
        globs = pairing.reals_of(source)
        is_real = (labels == 0) & [any(fnmatchcase(s, g) for g in globs) for s in sources]
        places = np.nonzero(is_real | ((sources == source) & (labels == 1)))[0]
        chosen = labels[places], table.logits[places], weights[:, places]
        found["auc"].append(weighted_auc(*chosen))
        found["ap"].append(weighted_ap_one_to_one(*chosen))
    return {name: np.mean(values, axis=0) for name, values in found.items()}


def percent(estimate: Estimate) -> str:
    """Such as 91.9 [90.5, 93.6]."""
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
