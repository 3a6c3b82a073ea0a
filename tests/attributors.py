"""Small pictures whose generators tint them, and tasks over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fakescan.attribute.book import Machine, NewTask
from fakescan.attribute.design import Design
from fakescan.attribute.settings import LearnSettings

MACHINE = Machine(workers=0)
TINTS = {
    "real": (0, 0, 0),
    "blue": (-110, 0, 110),
    "red": (110, 0, -110),
    "green": (-110, 110, -110),
    "dark": (-130, -130, -130),
}


def write_picture(path: Path, kind: str, seed: int) -> None:
    """A smooth picture with the tint of its generator."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((40, 36), Image.Resampling.BICUBIC), np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    tinted = np.clip(pixels + np.array(TINTS[kind], np.int16), 0, 255)
    Image.fromarray(tinted.astype(np.uint8)).save(path)


class Quiet:
    """Hears of everything and keeps the notes."""

    def __init__(self):
        self.notes = []

    def progress(self, stage, done, total):
        pass

    def note(self, text):
        self.notes.append(text)


SETTINGS = LearnSettings(epochs=2, batch_size=8, memory=24)
DESIGN = Design(last_blocks=2, rank=4)


def task(pictures, name, *generators, real=False):
    """A new task over the pictures of some generators."""

    def files(kind):
        return sorted((pictures / "train" / kind).glob("*.png"))

    return NewTask(
        name=name,
        generators={kind: files(kind) for kind in generators},
        reals=files("real") if real else (),
    )
