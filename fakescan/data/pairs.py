"""Aligned pairs: a real and a fake with the same content, through an autoencoder's round trip.

A detector that sees both cannot learn what is on the picture or how it was stored; only the
decoder's traces tell them apart. With several kinds (`fakescan.data.remakes`) a real has a fake of
each, and all of them share its place in the world: one crop, one view, one group.

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
from torch import Tensor

from fakescan.config import dump, load
from fakescan.data.autoencoder import STRIDE_PX, Autoencoder
from fakescan.data.remakes import KINDS, Kind, Remaker
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
    """With the image's path, decides rescaling, crop, and what is random in a kind."""
    kinds: tuple[Kind, ...] = ("round-trip",)
    """How the fakes are made; a real gets one of each."""

    def __post_init__(self) -> None:
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise ConfigError(f"pairs: kinds must be named once each, got {list(self.kinds)}")
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
    kinds: tuple[Kind, ...]
    error: str | None = None


def make_pairs(
    reals: Iterable[Sample], autoencoder: Autoencoder, out: Path, config: PairConfig
) -> Iterator[PairRow]:
    """Write `0_real/NAME.png` and `1_fake/NAME.KIND.png` for every real; what exists is kept.

    The manifest is written by `write_manifest` once the rows are known.

    Raises:
        DatasetError: `out` holds something else, or cannot be written.
    """
    try:
        _prepare(out, PairSettings(autoencoder=autoencoder.fingerprint(), config=config))
        for sample in reals:
            name = hashlib.sha256(sample.key.encode("utf-8", "surrogateescape")).hexdigest()[:16]
            error = _make_pairs_of(sample, name, autoencoder, out, config)
            yield PairRow(sample, name, config.kinds, error)
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


def remake(
    real: NDArray[np.uint8], autoencoder: Autoencoder, name: str, config: PairConfig
) -> dict[Kind, NDArray[np.uint8]]:
    """The fakes of one real by kind, (h, w, 3) each.

    Args:
        real: (h, w, 3) RGB, h and w multiples of 8.
        autoencoder: of the round trips.
        name: hexadecimal; with the seed, decides what is random.
        config: names the kinds.
    """
    x = torch.from_numpy(real.copy()).permute(2, 0, 1)[None].float() / 255  # (1, 3, h, w)
    remaker = Remaker(x, autoencoder)
    return {
        kind: _pixels(remaker.make(kind, _generator(config.seed, name, 1 + KINDS.index(kind))))
        for kind in config.kinds
    }


def write_manifest(rows: Iterable[PairRow], out: Path) -> Path:
    """Write `manifest.csv`: reals and their fakes, grouped with the real's source."""
    path = out / "manifest.csv"
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for row in rows:
            if row.error is None:
                table.writerows(_members(row))
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


def _members(row: PairRow) -> Iterator[tuple[str, ...]]:
    """The manifest's rows of a real and its fakes."""
    sample = row.sample
    origin = (row.name, sample.key)
    yield f"0_real/{row.name}.png", "real", sample.split, sample.source, "", *origin
    for kind in row.kinds:
        generator = f"autoencoder {kind}"
        path = _fake_path(row.name, kind)
        yield path, "fake", sample.split, sample.source, generator, *origin


def _fake_path(name: str, kind: Kind) -> str:
    return f"1_fake/{name}.{kind}.png"


def _make_pairs_of(
    sample: Sample, name: str, autoencoder: Autoencoder, out: Path, config: PairConfig
) -> str | None:
    """Write a real and its fakes unless they are there; the reason when it cannot be used."""
    real_path = out / "0_real" / f"{name}.png"
    paths = {kind: out / _fake_path(name, kind) for kind in config.kinds}
    if all(path.exists() for path in (real_path, *paths.values())):
        return None
    try:
        image = to_rgb(open_picture(sample.path).image)
    except ImageError as e:
        return str(e)
    if min(image.size) < STRIDE_PX:
        return f"a side is shorter than {STRIDE_PX} pixels"
    real = crop_for_pair(image, _generator(config.seed, name), config)
    _save(real, real_path)
    for kind, fake in remake(real, autoencoder, name, config).items():
        _save(fake, paths[kind])
    return None


def _generator(seed: int, name: str, kind: int = 0) -> np.random.Generator:
    """Random numbers of one image: 0 for its crop, each kind's own number for its fake."""
    return np.random.default_rng([seed, int(name, 16), *([kind] if kind else [])])


def _pixels(image: Tensor) -> NDArray[np.uint8]:
    """(1, 3, h, w) in [0, 1] -> (h, w, 3)."""
    out: NDArray[np.uint8] = (image[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return out


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    partial = path.with_suffix(".partial")
    Image.fromarray(pixels).save(partial, format="PNG")
    partial.replace(path)
