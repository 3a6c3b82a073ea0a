"""Aligned pairs: a real and a fake with the same content, through an autoencoder's round trip.

A detector that sees both cannot learn what is on the picture or how it was stored; only the
decoder's traces tell them apart.

Source: DDA (NeurIPS 2025) and B-Free (Guillaro et al., arXiv 2412.17671).
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fakescan.config import dump, load
from fakescan.data.autoencoder import STRIDE_PX, Autoencoder
from fakescan.data.samples import Sample
from fakescan.errors import ConfigError, DatasetError, ImageError
from fakescan.image import open_picture, to_rgb

SETTINGS_FILE = "pairs.toml"
COLUMNS = ("path", "label", "split", "source", "generator", "pair", "derived_from")


@dataclass(frozen=True, kw_only=True, slots=True)
class PairConfig:
    """How a real is prepared before its round trip."""

    crop_px: int = 320
    """Side of the square that is encoded; smaller images give the largest multiple of 8."""
    scale_min: float = 0.5
    """Smallest rescaling before the crop; never below what fills the crop."""
    seed: int = 0
    """With the image's path, decides rescaling and crop."""

    def __post_init__(self) -> None:
        if self.crop_px % STRIDE_PX or self.crop_px < STRIDE_PX or not 0 < self.scale_min <= 1:
            raise ConfigError(
                "pairs: crop_px must be a multiple of 8 and scale_min in (0, 1], "
                f"got {self.crop_px} and {self.scale_min}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class PairSettings:
    """What all pairs of a folder share; kept there in `pairs.toml`."""

    autoencoder: str
    """First 16 hex digits of the sha256 of its tensors."""
    config: PairConfig


@dataclass(frozen=True, slots=True)
class PairRow:
    """One real that was turned into a pair, or the reason it was not."""

    sample: Sample
    name: str
    error: str | None = None


def make_pairs(
    reals: Iterable[Sample], autoencoder: Autoencoder, out: Path, config: PairConfig
) -> Iterator[PairRow]:
    """Write `0_real/NAME.png` and `1_fake/NAME.png` for every real; what exists is kept.

    The manifest is written by `write_manifest` once the rows are known.

    Raises:
        DatasetError: `out` holds something else, or cannot be written.
    """
    try:
        _prepare(out, PairSettings(autoencoder=autoencoder.fingerprint(), config=config))
        for sample in reals:
            name = hashlib.sha256(sample.key.encode("utf-8", "surrogateescape")).hexdigest()[:16]
            yield PairRow(sample, name, _make_pair(sample, name, autoencoder, out, config))
    except OSError as e:
        raise DatasetError(f"{e.filename or out}: cannot be written ({e.strerror})") from e


def choose_reals(samples: Iterable[Sample], exclude: tuple[str, ...]) -> list[Sample]:
    """The reals whose source none of the globs matches.

    Raises:
        DatasetError: there is none.
    """
    reals = [s for s in samples if s.label == 0]
    chosen = [s for s in reals if not any(fnmatchcase(s.source, glob) for glob in exclude)]
    if not chosen:
        reason = "every real image's source is excluded" if reals else "no real images"
        raise DatasetError(f"pairs: {reason}, so that there is nothing to make pairs from")
    return chosen


def crop_for_pair(
    image: Image.Image, rng: np.random.Generator, config: PairConfig
) -> NDArray[np.uint8]:
    """Rescale and crop one photograph, (h, w, 3) with h = w a multiple of 8."""
    short = min(image.size)
    lowest = min(1.0, max(config.scale_min, config.crop_px / short))
    scale = float(rng.uniform(lowest, 1.0))
    resample = rng.choice(
        [Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BILINEAR]
    )
    if scale < 0.98:
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling(int(resample)))
    side = min(config.crop_px, min(image.size) // STRIDE_PX * STRIDE_PX)
    left = int(rng.integers(0, image.width - side + 1))
    top = int(rng.integers(0, image.height - side + 1))
    return np.asarray(image.crop((left, top, left + side, top + side)), dtype=np.uint8)


def round_trip(real: NDArray[np.uint8], autoencoder: Autoencoder) -> NDArray[np.uint8]:
    """(h, w, 3) RGB -> the same picture as the autoencoder's decoder draws it."""
    x = torch.from_numpy(real.copy()).permute(2, 0, 1)[None].float() / 255  # (1, 3, h, w)
    y = autoencoder(x)[0].permute(1, 2, 0)  # (h, w, 3)
    out: NDArray[np.uint8] = (y * 255).round().to(torch.uint8).numpy()
    return out


def write_manifest(rows: Iterable[PairRow], out: Path) -> Path:
    """Write `manifest.csv`: both members of every pair, grouped with the real's source."""
    path = out / "manifest.csv"
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for row in rows:
            if row.error is None:
                common = (row.sample.split, row.sample.source)
                for folder, label in (("0_real", "real"), ("1_fake", "fake")):
                    generator = "" if label == "real" else "autoencoder"
                    table.writerow(
                        (
                            f"{folder}/{row.name}.png",
                            label,
                            *common,
                            generator,
                            row.name,
                            row.sample.key,
                        )
                    )
    return path


def _prepare(out: Path, settings: PairSettings) -> None:
    """Make the folders; refuse to mix pairs of two kinds, or pairs with other images."""
    kept = out / SETTINGS_FILE
    if kept.is_file():
        if load(PairSettings, kept) != settings:
            raise DatasetError(
                f"{out}: its pairs were made with other settings ({kept}); choose another folder"
            )
    elif out.is_dir() and any(out.iterdir()):
        raise DatasetError(f"{out}: holds other files than pairs; choose another folder")
    for folder in ("0_real", "1_fake"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    kept.write_text(dump(settings), encoding="utf-8")


def _make_pair(
    sample: Sample, name: str, autoencoder: Autoencoder, out: Path, config: PairConfig
) -> str | None:
    """Write one pair unless it is there; the reason when its real cannot be used."""
    real_path, fake_path = out / "0_real" / f"{name}.png", out / "1_fake" / f"{name}.png"
    if real_path.exists() and fake_path.exists():
        return None
    try:
        image = to_rgb(open_picture(sample.path).image)
    except ImageError as e:
        return str(e)
    if min(image.size) < STRIDE_PX:
        return f"a side is shorter than {STRIDE_PX} pixels"
    real = crop_for_pair(image, _generator(config.seed, name), config)
    _save(real, real_path)
    _save(round_trip(real, autoencoder), fake_path)
    return None


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, int(name, 16)])


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    partial = path.with_suffix(".partial")
    Image.fromarray(pixels).save(partial, format="PNG")
    partial.replace(path)
