"""Compute what the frozen tower says of every view that recipes are compared on; resumable.

    python scripts/experiments/recipe_features.py DATA PAIRS OUT --backbone-weights FILE

PAIRS comes from `fakescan data pairs DATA --split train --exclude-source 'screen-*' --limit 400`
with `--kind round-trip --kind masked --kind upsampling`, or from decoder_pairs.py. Writes one .npz
a view, or only those that `--only GLOB ...` names:

    f                     (n, 7 * 2 D) float16: class token and mean patch token after blocks 2 to 8
    label, source, key, pair, kind      one a row

    train-d0, train-p0, train-crop      training images: drawn, drawn with processing, middle square
    pairs-KIND-d0, pairs-round-trip-p0  aligned pairs (KIND `real` are the reals of all kinds)
    dev-crop, dev-corner0, dev-corner1, dev-texture     development images: middle, upper left and
                                                        lower right square, and the one of 25 with
                                                        the most texture
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from fakescan.data.augment import Augmentation, draw, generator
from fakescan.data.samples import Sample, read_samples
from fakescan.export.graph import build_graph
from fakescan.image import Preprocess, normalise, open_picture, resize_short, to_rgb, view
from fakescan.metadata import DetectorMetadata
from fakescan.model.backbone import BackboneConfig, load_backbone
from fakescan.model.detector import DetectorModel, ModelConfig
from fakescan.model.mole import MoLEConfig

LEVELS = (2, 3, 4, 5, 6, 7, 8)
PREPROCESS = Preprocess()
PX = PREPROCESS.image_px
PROCESSING = 0.3
"""Share of processed pictures in the views p0."""
GRID = 5
"""Places along a side that are looked at for texture."""
OUTPUT = "features"


class Job(NamedTuple):
    """One view of one file."""

    kind: str
    path: Path
    name: str


def cut(job: Job) -> NDArray[np.uint8]:
    """The square that a job asks for, (S, S, 3)."""
    image = to_rgb(open_picture(job.path).image)
    if job.kind in ("d0", "p0"):
        recipe = Augmentation(processing=PROCESSING if job.kind == "p0" else 0.0)
        return draw(image, generator(0, job.name, 0), recipe, PX)
    if job.kind == "crop":
        return view(image, PREPROCESS)
    if min(image.size) < PX:
        image = resize_short(image, PX)
    corners = {"corner0": (0, 0), "corner1": (image.width - PX, image.height - PX)}
    left, top = corners[job.kind] if job.kind in corners else most_texture(image)
    return np.asarray(image.crop((left, top, left + PX, top + PX)))


def most_texture(image: Image.Image) -> tuple[int, int]:
    """Left and top of the square whose neighbouring pixels differ most."""
    grey = np.asarray(image.convert("L"), np.float32)
    steps = np.zeros_like(grey)
    steps[:, 1:] += np.abs(np.diff(grey, axis=1))
    steps[1:] += np.abs(np.diff(grey, axis=0))
    sums = np.pad(steps.cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def texture(place: tuple[int, int]) -> float:
        x, y = place
        return float(sums[y + PX, x + PX] - sums[y, x + PX] - sums[y + PX, x] + sums[y, x])

    xs, ys = (np.linspace(0, side - PX, GRID).round().astype(int).tolist() for side in image.size)
    return max(((x, y) for y in ys for x in xs), key=texture)


def frozen_tower(backbone: str, weights: Path | None, folder: Path) -> onnxruntime.InferenceSession:
    """Pixels (1, 3, S, S) -> level vectors (1, F), as ONNX: twice as fast as torch."""
    loaded = load_backbone(BackboneConfig(name=backbone, weights=weights))
    config = ModelConfig(head="levels", levels=LEVELS, mole=MoLEConfig(blocks=()))
    model = DetectorModel(loaded.tower, config)
    proto = build_graph(model, DetectorMetadata(precision="fp32", backbone=loaded.info))
    head = next(n for n in proto.graph.node if "head.weight" in n.input and n.op_type == "MatMul")
    features = helper.make_tensor_value_info(head.input[0], TensorProto.FLOAT, ["B", None])
    del proto.graph.output[:]
    proto.graph.output.append(features)
    path = folder / "tower.onnx"
    onnx.save(proto, path)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def write_view(path: Path, kind: str, samples: Sequence[Sample], tower: Any) -> None:
    """Compute and store one view of some samples."""
    start = time.monotonic()
    jobs = [Job(kind, s.path, s.pair or s.key) for s in samples]
    found = []
    with ProcessPoolExecutor(1) as pool:
        for square in pool.map(cut, jobs, chunksize=8):
            pixels = normalise(square[np.newaxis], PREPROCESS)
            found.append(tower.run(None, {"pixels": pixels})[0][0].astype(np.float16))
    columns = {n: [getattr(s, n) for s in samples] for n in ("label", "source", "key", "pair")}
    np.savez(path, f=np.stack(found), **columns)  # type: ignore[arg-type]
    print(f"{path.name}: {len(samples)} views, {time.monotonic() - start:.0f} s", flush=True)


def views(data: Path, pairs: Path) -> Iterator[tuple[str, str, list[Sample]]]:
    """Name, kind and samples of each view."""
    samples = read_samples(data)
    train = [s for s in samples if s.split in ("train", "train2")]
    dev = [s for s in samples if s.split == "dev"]
    for kind in ("crop", "corner0", "corner1", "texture"):
        yield f"dev-{kind}", kind, dev
    for kind in ("d0", "crop", "p0"):
        yield f"train-{kind}", kind, train
    members: dict[str, list[Sample]] = {}
    for sample in read_samples(pairs):
        kind = sample.generator.removeprefix("autoencoder ") or "real"
        members.setdefault(kind, []).append(replace(sample, key=f"{kind} {sample.key}"))
    for kind, chosen in sorted(members.items()):
        yield f"pairs-{kind}-d0", "d0", chosen
    for kind in ("real", "round-trip"):
        yield f"pairs-{kind}-p0", "p0", members[kind]


def main() -> None:
    """Read the command line and compute every view."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--backbone", default="ViT-B-16-quickgelu")
    parser.add_argument("--backbone-weights", type=Path)
    parser.add_argument("--only", nargs="+", default=["*"], metavar="GLOB")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tower = frozen_tower(args.backbone, args.backbone_weights, args.out)
    for name, kind, samples in views(args.data, args.pairs):
        path = args.out / f"{name}.npz"
        if any(fnmatchcase(name, glob) for glob in args.only) and not path.exists():
            write_view(path, kind, samples, tower)


if __name__ == "__main__":
    main()
