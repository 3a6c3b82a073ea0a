"""What sharing the trunk saves: T extractors one after another, and side by side.

    python scripts/benchmark_attribute.py --patch 32 --tasks 12 --last-blocks 3

Both ways are timed in turns on the same images, on a tower with random weights; their features are
compared, too. The bound counts blocks: L T over (L - k) + k T. Sharing what comes before the first
adapter of the first adapted block can exceed it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import torch

from fakescan.attribute.design import Design
from fakescan.attribute.extractors import SharedTrunk
from fakescan.model.tower import Tower, TowerConfig


def made(options: argparse.Namespace) -> SharedTrunk:
    """Extractors whose adapters all differ."""
    torch.manual_seed(0)
    tower = Tower(TowerConfig(patch_px=options.patch, blocks=options.blocks))
    design = Design(head="final", last_blocks=options.last_blocks, site=options.site)
    extractors = SharedTrunk(tower, design)
    for _ in range(options.tasks):
        extractors.grow()
        for parameter in extractors.parameters_of(-1):
            torch.nn.init.normal_(parameter, std=0.02)
    return extractors


@torch.no_grad()
def one_by_one(extractors: SharedTrunk, pixels: torch.Tensor) -> torch.Tensor:
    """As without sharing: the whole tower for every task."""
    tasks = range(len(extractors.tasks))
    return torch.cat([extractors.one(t, extractors.base.trunk(pixels)) for t in tasks], dim=-1)


@torch.no_grad()
def shared(extractors: SharedTrunk, pixels: torch.Tensor) -> torch.Tensor:
    """The trunk once, the last blocks side by side."""
    trunk = extractors.base.trunk(pixels, split=extractors.base.can_split)
    return extractors.all(trunk)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patch", type=int, default=32, help="32: ViT-B/32, 16: ViT-B/16")
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--last-blocks", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=12)
    parser.add_argument("--site", default="mlp", choices=("mlp", "attention", "both"))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    extractors = made(options)
    pixels = torch.randn(options.batch, 3, 224, 224)
    difference = (one_by_one(extractors, pixels) - shared(extractors, pixels)).abs().max()
    ratios = []
    for _ in range(options.rounds):
        times = []
        for way in (one_by_one, shared):
            started = time.process_time()
            way(extractors, pixels)
            times.append(time.process_time() - started)
        ratios.append(times[0] / times[1])
        each = [1000 * t / options.batch for t in times]
        print(f"one by one {each[0]:7.0f} ms an image, shared {each[1]:6.0f}, {ratios[-1]:.2f}x")
    layers, k, tasks = options.blocks, options.last_blocks, options.tasks
    bound = layers * tasks / (layers - k + k * tasks)
    found = statistics.median(ratios)
    print(f"largest difference of features {float(difference):.1e}")
    print(f"median {found:.2f}x; the bound is {bound:.2f}x, so {found / bound:.0%} of it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
