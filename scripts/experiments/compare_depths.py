"""What a detector costs by how many blocks it computes; prints Markdown.

    python scripts/experiments/compare_depths.py --backbone-weights clip.safetensors

Each depth is a file as `fakescan export` writes it, with the paper's mixture on its last 3 blocks,
int8. All depths are timed in turns, so that a busy machine slows all of them; what is shown is the
best of `--repeat`.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from fakescan import runtime
from fakescan.export.graph import build_graph
from fakescan.metadata import DetectorMetadata
from fakescan.model.backbone import Backbone, BackboneConfig, load_backbone
from fakescan.model.detector import DetectorModel, ModelConfig
from fakescan.session import OnnxSession

DEPTHS = (4, 6, 8, 10, 12)


def session_of(backbone: Backbone, depth: int, folder: Path) -> OnnxSession:
    """A detector that reads only the last block of its depth."""
    config = ModelConfig(head="levels", levels=(depth,), depth=depth)
    model = DetectorModel(backbone.tower, config)
    path = folder / f"depth-{depth}.onnx"
    onnx.save(build_graph(model, DetectorMetadata(precision="int8", backbone=backbone.info)), path)
    return OnnxSession(path, device="cpu")


def seconds(session: OnnxSession, crops: NDArray[np.uint8]) -> float:
    """To score the crops."""
    start = time.perf_counter()
    session.logits(crops)
    return time.perf_counter() - start


def main() -> None:
    """Write, time and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="ViT-B-16-quickgelu")
    parser.add_argument("--backbone-weights", type=Path, required=True)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    config = BackboneConfig(name=args.backbone, pretrained="openai", weights=args.backbone_weights)
    backbone = load_backbone(config)
    px = backbone.tower.config.image_px
    crops = np.random.default_rng(0).integers(0, 256, (args.images, px, px, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        sessions = {depth: session_of(backbone, depth, Path(folder)) for depth in DEPTHS}
        sizes = {d: (Path(folder) / f"depth-{d}.onnx").stat().st_size / 1e6 for d in DEPTHS}
        best = dict.fromkeys(DEPTHS, float("inf"))
        for _ in range(args.repeat):
            best = {d: min(best[d], seconds(s, crops)) for d, s in sessions.items()}
    print(f"{args.backbone}, int8, {runtime.described()}, {platform.machine()}\n")
    print("| blocks | images/s | time, % of all blocks | file, MB |\n|---|---|---|---|")
    for depth, took in best.items():
        share = 100 * took / best[DEPTHS[-1]]
        print(f"| {depth} | {args.images / took:.1f} | {share:.0f} | {sizes[depth]:.1f} |")


if __name__ == "__main__":
    main()
