"""Compute what every block of a frozen tower says of every image, once, for all comparisons.

    python scripts/experiments/level_features.py DATA PAIRS OUT --backbone-weights FILE

Writes one .npz a view: random draws of the training images and of the aligned pairs, and the
views that a scan could use of the development images (centre crop of native pixels, shorter side
resized, two corner crops to average). Views that exist are kept, so it can be stopped and run on.

    levels   (n, blocks, 2 D) float16   class token and mean patch token after every block
    final    (n, embed_dim) float32     projected embedding
    label, source, key, pair            one a row
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.data.augment import Augmentation, draw, generator
from fakescan.data.samples import Sample, read_samples
from fakescan.image import Preprocess, normalise, open_picture, resize_short, to_rgb, view
from fakescan.model.backbone import BackboneConfig, load_backbone
from fakescan.model.head import level_vector
from fakescan.model.tower import Tower

BATCH = 8
PREPROCESS = Preprocess()


class Job(NamedTuple):
    """One view of one sample."""

    kind: str
    sample: Sample
    number: int


def cut(job: Job) -> NDArray[np.uint8]:
    """The crop that a job asks for, (S, S, 3)."""
    image = to_rgb(open_picture(job.sample.path).image)
    px = PREPROCESS.image_px
    if job.kind == "draw":
        name = job.sample.pair or job.sample.key
        return draw(image, generator(0, name, job.number), Augmentation(), px)
    if job.kind == "resize":
        return view(image, Preprocess(geometry="resize"))
    if job.kind == "corner":
        if min(image.size) < px:
            image = resize_short(image, px)
        left, top = (0, 0) if job.number == 0 else (image.width - px, image.height - px)
        return np.asarray(image.crop((left, top, left + px, top + px)))
    return view(image, PREPROCESS)


def batches(crops: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Stack consecutive crops, (B, S, S, 3)."""
    waiting: list[NDArray[np.uint8]] = []
    for crop in crops:
        waiting.append(crop)
        if len(waiting) == BATCH:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)


@torch.no_grad()
def features(
    tower: Tower, crops: NDArray[np.uint8]
) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """(B, S, S, 3) -> levels (B, blocks, 2 D) and embeddings (B, embed_dim)."""
    tokens = tower.embed(torch.from_numpy(normalise(crops, PREPROCESS)))
    levels = []
    for block in tower.blocks:
        tokens = block(tokens)
        levels.append(level_vector(tokens))
    return torch.stack(levels, 1).half().numpy(), tower.project(tokens).numpy()


def write_view(path: Path, jobs: list[Job], tower: Tower, pool: ProcessPoolExecutor) -> None:
    """Compute and store one view of a list of samples, unless it is there."""
    if path.exists():
        return
    start, levels, final = time.monotonic(), [], []
    for crops in batches(pool.map(cut, jobs, chunksize=BATCH)):
        one = features(tower, crops)
        levels.append(one[0])
        final.append(one[1])
    columns: dict[str, Any] = {
        name: np.array([getattr(job.sample, name) for job in jobs])
        for name in ("label", "source", "key", "pair")
    }
    np.savez(path, levels=np.concatenate(levels), final=np.concatenate(final), **columns)
    print(f"{path.name}: {len(jobs)} views, {time.monotonic() - start:.0f} s", flush=True)


def main() -> None:
    """Read the command line and compute every view."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--backbone", default="ViT-B-16-quickgelu")
    parser.add_argument("--backbone-weights", type=Path)
    parser.add_argument("--draws", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    backbone = load_backbone(BackboneConfig(name=args.backbone, weights=args.backbone_weights))
    samples = read_samples(args.data)
    train = [s for s in samples if s.split in ("train", "train2")]
    dev = [s for s in samples if s.split == "dev"]
    pairs = read_samples(args.pairs)
    with ProcessPoolExecutor(2) as pool:
        for name, kind, number, chosen in (
            ("dev-crop", "crop", 0, dev),
            *((f"train-d{d}", "draw", d, train) for d in range(args.draws)),
            *((f"pairs-d{d}", "draw", d, pairs) for d in range(args.draws)),
            ("dev-resize", "resize", 0, dev),
            ("dev-corner0", "corner", 0, dev),
            ("dev-corner1", "corner", 1, dev),
            ("train-crop", "crop", 0, train),
            ("train-resize", "resize", 0, train),
        ):
            jobs = [Job(kind, sample, number) for sample in chosen]
            write_view(args.out / f"{name}.npz", jobs, backbone.tower, pool)


if __name__ == "__main__":
    main()
