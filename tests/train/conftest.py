"""A tiny backbone, and small labelled images that differ by a tint."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from fakescan.export.graph import build_graph
from fakescan.model.backbone import BackboneConfig
from fakescan.model.detector import ModelConfig
from fakescan.train.run import train
from fakescan.train.settings import CacheConfig, TrainConfig
from towers import tiny_metadata, tiny_model, tiny_tower


def write_image(path: Path, *, is_fake: bool, seed: int) -> None:
    """A smooth picture; a fake is bluer."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((40, 36), Image.Resampling.BICUBIC), np.int16)
    if is_fake:
        pixels = pixels + np.array([-110, 0, 110], np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="session")
def write_detector():
    """Write a tiny detector of three blocks, with random experts after some of them."""

    def write(path, *, adapted=(), class_scale=1.0):
        tower = tiny_tower(blocks=3, has_projection=False)
        tower.class_embedding.data *= class_scale
        model = tiny_model(tower=tower, blocks=adapted)
        onnx.save(build_graph(model, tiny_metadata(model)), path)
        return path

    return write


@pytest.fixture(scope="session")
def backbone(tmp_path_factory, write_detector):
    """The tower of such a file."""
    return BackboneConfig(weights=write_detector(tmp_path_factory.mktemp("backbone") / "tiny.onnx"))


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


@pytest.fixture(scope="session")
def shared_config(backbone, data, tmp_path_factory):
    """A run of a second, over a cache that all tests with it share."""
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
        cache=CacheConfig(folder=tmp_path_factory.mktemp("cache")),
    )


@pytest.fixture(scope="session")
def finished(shared_config, tmp_path_factory):
    """The folder of that run; tests leave it as it is."""
    out = tmp_path_factory.mktemp("finished") / "run"
    train(shared_config, out)
    return out


@pytest.fixture
def config(shared_config, tmp_path):
    """The same settings with a cache of the test's own."""
    return replace(shared_config, cache=CacheConfig(folder=tmp_path / "cache"))
