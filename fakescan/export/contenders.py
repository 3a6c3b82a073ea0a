"""Ways to score that need torch, for `fakescan bench --compare` and scripts/bench."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import get_args

import onnx
import torch

from fakescan.bench.compare import Score
from fakescan.bench.contenders import Make, scoring
from fakescan.export.graph import build_graph
from fakescan.image import Preprocess, normalise, open_picture, view
from fakescan.metadata import DetectorMetadata, Precision
from fakescan.model.builtin import load_exported
from fakescan.model.detector import DetectorModel
from fakescan.session import OnnxSession

BATCH = 8
"""Of the pipeline in torch."""
PIPELINE = "torch eager float32, DataLoader"


def exported(path: Path, threads: int, folder: Path) -> Iterator[tuple[str, Make]]:
    """Yield every precision that `fakescan export` writes, and what makes it of a file's detector.

    Args:
        path: of the file.
        threads: for one image.
        folder: where the files are written.
    """

    @cache
    def loaded() -> tuple[DetectorModel, DetectorMetadata]:
        return load_exported(path)

    def make(precision: Precision) -> Score:
        model, metadata = loaded()
        file = folder / f"{precision}.onnx"
        onnx.save(build_graph(model, replace(metadata, precision=precision)), file)
        return scoring(OnnxSession(file, device="cpu", threads=threads))

    for precision in get_args(Precision):
        yield precision, partial(make, precision)


def torch_pipeline(
    path: Path, threads: int, workers: int, photos: list[str]
) -> Callable[[], list[float]]:
    """How research code scores files: decoded in workers, in batches, in float32.

    Args:
        path: of the detector.
        threads: of torch.
        workers: processes that decode.
        photos: paths of images, of which it scores the middle square.
    """
    model, metadata = load_exported(path)
    torch.set_num_threads(threads)
    return lambda: _run(model, metadata, workers, photos)


class _Photos(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, paths: list[str], preprocess: Preprocess) -> None:
        self.paths, self.preprocess = paths, preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        square = view(open_picture(Path(self.paths[index])).image, self.preprocess)
        return torch.from_numpy(normalise(square[None], self.preprocess)[0])


@torch.no_grad()
def _run(
    model: DetectorModel, metadata: DetectorMetadata, workers: int, photos: list[str]
) -> list[float]:
    loader = torch.utils.data.DataLoader(
        _Photos(photos, metadata.preprocess), batch_size=BATCH, num_workers=workers
    )
    return [x for batch in loader for x in model(batch).logit.tolist()]
