#!/usr/bin/env python3
"""Measure a CUDA card: images a second against its own matrix-product ceiling; the trunk cache.

Random weights: values do not change speed. The ceiling is what a large product of the same type
sustains on the card, over the operations of one image. `--smoke` runs tiny sizes on the processor,
to see that everything works.

python scripts/benchmark_gpu.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch

from fakescan.export.graph import build_graph
from fakescan.image import Preprocess
from fakescan.metadata import INPUT, OUTPUT_LOGIT, BackboneInfo, DetectorMetadata
from fakescan.model.detector import DetectorModel, ModelConfig
from fakescan.model.tower import Tower, TowerConfig

TOWERS = {
    "ViT-B/16": TowerConfig(),
    "ViT-L/14": TowerConfig(
        patch_px=14, width=1024, blocks=24, heads=16, mlp_width=4096, embed_dim=768
    ),
}
SMOKE = {
    "tiny": TowerConfig(
        image_px=32, patch_px=8, width=64, blocks=4, heads=2, mlp_width=128, embed_dim=16
    )
}
TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
BATCHES = (1, 8, 32, 128, 256)
STEP_BATCH = 32
"""Images in a training step."""
REPEATS = 20
PRODUCT = 8192
"""Side of the matrices that find the ceiling."""


def main() -> None:
    """Sweep towers, types and batches; print Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, on the processor")
    is_smoke = parser.parse_args().smoke
    if not (is_smoke or torch.cuda.is_available()):
        raise SystemExit("no CUDA card: nothing was measured")
    device = torch.device("cpu" if is_smoke else "cuda")
    card = "processor, smoke test" if is_smoke else torch.cuda.get_device_name()
    print(f"{card}; torch {torch.__version__}, CUDA {torch.version.cuda}\n")
    print("| tower | type | runtime | batch | images/s | of the ceiling |")
    print("|---|---|---|---:|---:|---:|")
    for name, config in (SMOKE if is_smoke else TOWERS).items():
        model = _detector(config).to(device)
        for kind, dtype in TYPES.items():
            ceiling = _ceiling(dtype, device, 256 if is_smoke else PRODUCT) / _operations(config)
            for batch in (2,) if is_smoke else BATCHES:
                rate = batch / _torch_s(model, config, dtype, batch)
                print(f"| {name} | {kind} | torch | {batch} | {rate:,.0f} | {rate / ceiling:.0%} |")
        for batch in (2,) if is_smoke else BATCHES:
            seconds = _onnx_s(model, config, batch)
            if seconds is None:
                print(f"| {name} | fp16 | ONNX Runtime: no CUDA provider | | | |")
                break
            print(f"| {name} | fp16 | ONNX Runtime | {batch} | {batch / seconds:,.0f} | |")
    print("\n| tower | plain step, ms | with the trunk cached, ms | times |")
    print("|---|---:|---:|---:|")
    for name, config in (SMOKE if is_smoke else TOWERS).items():
        plain, cached = _steps_s(_detector(config).to(device), config)
        print(f"| {name} | {plain * 1e3:.1f} | {cached * 1e3:.1f} | {plain / cached:.1f} |")


def _detector(config: TowerConfig) -> DetectorModel:
    torch.manual_seed(0)
    return DetectorModel(Tower(config), ModelConfig(head="final")).eval()


def _operations(config: TowerConfig) -> float:
    """Floating-point operations of one image, a multiplication and an addition counted as two."""
    tokens, width = config.tokens, config.width
    linear = tokens * (4 * width**2 + 2 * width * config.mlp_width)
    return 2 * config.blocks * (linear + 2 * tokens**2 * width)


def _pixels(config: TowerConfig, batch: int, device: torch.device) -> torch.Tensor:
    return torch.randn(batch, 3, config.image_px, config.image_px, device=device)


def _median_s(run: Callable[[], object], device: torch.device) -> float:
    """Median seconds of a call, finished on the device, after three that warm up."""
    seconds = []
    for number in range(3 + REPEATS):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number >= 3:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _ceiling(dtype: torch.dtype, device: torch.device, side: int) -> float:
    """Operations a second of a large matrix product."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / _median_s(lambda: a @ b, device)


@torch.no_grad()
def _torch_s(model: DetectorModel, config: TowerConfig, dtype: torch.dtype, batch: int) -> float:
    """Seconds of a batch: compiled, attention fused, under autocast."""
    device = next(model.parameters()).device
    run = torch.compile(model) if device.type == "cuda" else model
    pixels = _pixels(config, batch, device)
    with torch.autocast(device.type, dtype):
        return _median_s(lambda: run(pixels), device)


def _onnx_s(model: DetectorModel, config: TowerConfig, batch: int) -> float | None:
    """Seconds of a batch in ONNX Runtime, pixels on the processor; None without its provider."""
    import onnxruntime

    is_cuda = next(model.parameters()).device.type == "cuda"
    provider = "CUDAExecutionProvider" if is_cuda else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        return None
    metadata = DetectorMetadata(
        precision="fp16",
        preprocess=Preprocess(image_px=config.image_px),
        backbone=BackboneInfo(name="random"),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.onnx"
        onnx.save(build_graph(model, metadata), path)
        session = onnxruntime.InferenceSession(path, providers=[provider])
    if session.get_providers()[0] != provider:
        return None
    pixels = _pixels(config, batch, torch.device("cpu")).numpy().astype(np.float32)
    device = torch.device("cpu")  # the session itself waits for its results
    return _median_s(lambda: session.run([OUTPUT_LOGIT], {INPUT: pixels}), device)


def _steps_s(model: DetectorModel, config: TowerConfig) -> tuple[float, float]:
    """Seconds of a training step: from pixels, and from the trunk, in bf16 under autocast."""
    device = next(model.parameters()).device
    pixels = _pixels(config, STEP_BATCH, device)
    labels = torch.arange(STEP_BATCH, device=device).remainder(2).float()
    with torch.autocast(device.type, torch.bfloat16):
        trunk = model.trunk(pixels, split=True)

    def step(forward: Callable[[], torch.Tensor]) -> None:
        with torch.autocast(device.type, torch.bfloat16):
            logit = forward()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logit.float(), labels)
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]

    plain = _median_s(lambda: step(lambda: model(pixels).logit), device)
    return plain, _median_s(lambda: step(lambda: model.tail(trunk).logit), device)


if __name__ == "__main__":
    main()
