"""Small autoencoders, labelled folders and photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

LATENT = 4


def write_autoencoder(folder: Path, seed: int = 0) -> Path:
    """Random weights under the names and shapes of the TAESD family."""
    rng = torch.Generator().manual_seed(seed)

    def conv(name, d_out, d_in, *, bias=True):
        weight = torch.randn(d_out, d_in, 3, 3, generator=rng) * 0.5 / (9 * d_in) ** 0.5
        return {f"{name}.weight": weight, **({f"{name}.bias": torch.zeros(d_out)} if bias else {})}

    def blocks(*numbers):
        return [conv(f"{i}.conv.{k}", 64, 64) for i in numbers for k in (0, 2, 4)]

    encoder = [conv("0", 64, 3), *blocks(1, 3, 4, 5, 7, 8, 9, 11, 12, 13), conv("14", LATENT, 64)]
    encoder += [conv(str(i), 64, 64, bias=False) for i in (2, 6, 10)]
    decoder = [conv("1", 64, LATENT), *blocks(3, 4, 5, 8, 9, 10, 13, 14, 15, 18)]
    decoder += [conv(str(i), 64, 64, bias=False) for i in (7, 12, 17)] + [conv("19", 3, 64)]
    folder.mkdir(exist_ok=True)
    for name, parts in (("encoder", encoder), ("decoder", decoder)):
        tensors = {key: value for part in parts for key, value in part.items()}
        save_file(tensors, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="session")
def autoencoder_folder(tmp_path_factory):
    return write_autoencoder(tmp_path_factory.mktemp("autoencoder"))


@pytest.fixture(scope="session")
def photo():
    """Width x height and a seed -> a picture with large and small structure."""

    def make(width, height, seed=0):
        rng = np.random.default_rng(seed)
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
        grain = rng.integers(-8, 9, smooth.shape)
        return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))

    return make


@pytest.fixture
def tree(tmp_path):
    """Write files of these names, with their own name as content; the folder they are in."""

    def make(*names):
        for name in names:
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        return tmp_path / "tree"

    return make
