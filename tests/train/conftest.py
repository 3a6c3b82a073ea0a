"""A tiny backbone, and small labelled images that differ by a pattern."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fakescan.model.backbone import BackboneConfig
from fakescan.model.detector import ModelConfig
from fakescan.model.tower import Tower, TowerConfig
from fakescan.train.settings import CacheConfig, TrainConfig

TINY = "tiny-vit-for-tests"
SIZES = TowerConfig(
    image_px=16, patch_px=8, width=32, blocks=3, heads=2, mlp_width=128, embed_dim=16
)
"""Of the tiny tower."""


def write_image(path: Path, *, is_fake: bool, seed: int) -> None:
    """A smooth picture; a fake has a faint chequered pattern on it."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((40, 36), Image.Resampling.BICUBIC), np.int16)
    if is_fake:
        pattern = (np.indices((36, 40)).sum(0) % 2 * 2 - 1) * 20
        pixels = pixels + pattern[..., None]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    """A tiny tower under a name of its own, with seeded weights."""
    folder = tmp_path_factory.mktemp("backbone")
    values = {
        "embed_dim": SIZES.embed_dim,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": SIZES.image_px,
            "layers": SIZES.blocks,
            "width": SIZES.width,
            "head_width": SIZES.width // SIZES.heads,
            "patch_size": SIZES.patch_px,
        },
        "text_cfg": {},
    }
    (folder / f"{TINY}.json").write_text(json.dumps(values))
    open_clip.add_model_config(folder / f"{TINY}.json")
    torch.manual_seed(0)
    save_file(Tower(SIZES).state_dict(), folder / "tiny.safetensors")
    return BackboneConfig(name=TINY, weights=folder / "tiny.safetensors")


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Four sources of each class, five images each."""
    root = tmp_path_factory.mktemp("images")
    for source in range(8):
        is_fake = source >= 4
        for i in range(5):
            leaf = "1_fake" if is_fake else "0_real"
            path = root / f"source{source}" / leaf / f"{i}.png"
            write_image(path, is_fake=is_fake, seed=100 * source + i)
    return root


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """Six aligned pairs with the manifest that `fakescan data pairs` writes."""
    root = tmp_path_factory.mktemp("pairs")
    with (root / "manifest.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("path", "label", "source", "pair", "derived_from"))
        for i in range(6):
            origin = f"source{i % 4}/0_real/{i // 4}.png"
            for label, leaf in (("real", "0_real"), ("fake", "1_fake")):
                write_image(root / leaf / f"p{i}.png", is_fake=label == "fake", seed=i)
                table.writerow((f"{leaf}/p{i}.png", label, f"source{i % 4}", f"p{i}", origin))
    return root


@pytest.fixture
def config(backbone, data, tmp_path):
    """A run of seconds; change what a test is about with `replace`."""
    return TrainConfig(
        data=(data,),
        backbone=backbone,
        model=ModelConfig(head="levels", levels=(1, 2, 3)),
        batch_size=8,
        epochs=2,
        lr=2e-3,
        patience=0,
        validation=0.25,
        save_every=3,
        workers=0,
        cache=CacheConfig(folder=tmp_path / "cache"),
    )
