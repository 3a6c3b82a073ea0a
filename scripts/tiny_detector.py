#!/usr/bin/env python3
"""Write a random detector of two blocks and 16 pixels: what is slow besides the detector shows.

python scripts/tiny_detector.py tiny.onnx
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fakescan.image import Preprocess
from fakescan.metadata import BackboneInfo, DetectorMetadata

PX = 16


def write_detector(path: Path) -> Path:
    """Export one; torch is loaded here, so measure in another process."""
    import onnx
    import torch

    from fakescan.export.graph import build_graph
    from fakescan.model.detector import DetectorModel, ModelConfig
    from fakescan.model.tower import Tower, TowerConfig

    torch.manual_seed(0)
    sizes = TowerConfig(
        image_px=PX, patch_px=8, width=32, blocks=2, heads=2, mlp_width=64, embed_dim=8
    )
    model = DetectorModel(Tower(sizes), ModelConfig(head="levels", levels=(1, 2)))
    with torch.no_grad():
        model.head.weight.normal_()  # or all scores are the same
    metadata = DetectorMetadata(
        name="tiny", preprocess=Preprocess(image_px=PX), backbone=BackboneInfo(name="random")
    )
    onnx.save(build_graph(model, metadata), path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    write_detector(parser.parse_args().out)
