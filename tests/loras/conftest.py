"""A messy folder of LoRA files, and its index."""

import pickle

import numpy as np
import pytest

from fakescan.cli import main
from loras_made import diffusers, factors, kohya, peft, write

STYLES = ("ink", "oil", "pixel")


def like(style: int, number: int):
    """Factors of one of several adapters that share a style."""
    base, own = factors(100 + style, 2), factors(1000 + 50 * style + number, 2)
    return {
        name: (np.hstack([3 * B, own[name][0]]), np.vstack([A, own[name][1]]))
        for name, (B, A) in base.items()
    }


def regauged(pairs, seed):
    """The same update by other factors."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, (B, A) in pairs.items():
        G = np.linalg.qr(rng.standard_normal((B.shape[1],) * 2))[0] * 3
        out[name] = ((B @ G).astype("<f4"), (np.linalg.inv(G) @ A).astype("<f4"))
    return out


@pytest.fixture(scope="session")
def messy(tmp_path_factory):
    """Three styles of six files, copies, and all that is no LoRA."""
    folder = tmp_path_factory.mktemp("messy")
    for s, style in enumerate(STYLES):
        for number in range(6):
            write(folder / style / f"{number}.safetensors", kohya(like(s, number), alpha=4.0))
    copy = (folder / "ink" / "0.safetensors").read_bytes()
    (folder / "copy of ink.safetensors").write_bytes(copy)
    write(folder / "export.safetensors", peft(regauged(like(0, 1), 1)))
    write(folder / "model.safetensors", {"model.weight": np.ones((4, 4), "<f4")})
    (folder / "cut.safetensors").write_bytes(copy[:-10])
    (folder / "old.ckpt").write_bytes(pickle.dumps([1, 2, 3]))
    (folder / "notes.txt").write_text("not a LoRA")
    write(folder / "oft.safetensors", {"lora_unet_x.oft_blocks": np.ones((2, 2), "<f4")})
    (folder / "gone.safetensors").symlink_to(folder / "nowhere")
    return folder


@pytest.fixture(scope="session")
def indexed(messy, tmp_path_factory):
    """The index of the messy folder."""
    out = tmp_path_factory.mktemp("index") / "idx"
    assert main(["lora", "index", str(messy), "--out", str(out), "-q"]) == 0
    return out


@pytest.fixture
def other_dialect(tmp_path):
    """A file outside of the folder with the update of ink/2, from another trainer."""
    return write(tmp_path / "asked.safetensors", diffusers(regauged(like(0, 2), 5)))


@pytest.fixture
def run(capsys):
    """Run a command: exit code, standard output, standard error."""

    def run(*arguments):
        code = main(["lora", *(str(a) for a in arguments)])
        return code, *capsys.readouterr()

    return run
