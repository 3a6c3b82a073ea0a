"""Train decoders of our own for aligned pairs, each starting from an autoencoder's; resumable.

    python scripts/experiments/decoder_pairs.py PAIRS OUT --autoencoder TAEF2

PAIRS comes from `fakescan data pairs DATA --split train --exclude-source 'screen-*' --limit 400`.
Every other real of it (by name) trains the decoders, on latents of the frozen encoder; the rest
become pairs: OUT holds these reals, their round trips, and one more fake of each a decoder, in the
layout of PAIRS. Each decoder is kept as OUT/decoders/NAME.safetensors. Prints a Markdown row with
size and PSNR for each, on the reals that it did not learn from.

    transposed   upsampling by transposed convolutions, 4x4 of stride 2
    shuffle      upsampling by pixel shuffle, 3x3 to four times the channels
    random       as transposed, with upsampling that starts at random
    quantised    latents in groups of 4 channels, each the nearest of 256 codes (k-means)
    narrow       latents reduced to their first 4 principal components
    adversarial  the decoder as it is, against a discriminator of patches

All start from the autoencoder. Transposed convolutions and pixel shuffle start at what its layers
compute, plus noise of half the spread of their weights. The loss is L1, and the distance of what
the frozen encoder makes of the result (weight 0.1) in place of a perceptual network.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from decoder_variants import NAMES, make_decoder
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from fakescan.data.autoencoder import STRIDE_PX, Autoencoder, load_autoencoder
from fakescan.data.pairs import COLUMNS

CROP_PX, BATCH, STEPS = 96, 4, 500
RATE, NEW_RATE = 1e-4, 1e-3
LATENT_WEIGHT, ADVERSARIAL_WEIGHT = 0.1, 0.02


class Picture(NamedTuple):
    """A real of PAIRS and what the encoder makes of it."""

    name: str
    pixels: Tensor  # (3, h, w), RGB in [0, 1]
    latents: Tensor  # (L, h / 8, w / 8)


def make_discriminator() -> nn.Sequential:
    """(B, 3, h, w) -> (B, 1, h / 8, w / 8): how real each patch looks."""
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for d_in, d_out in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(d_in, d_out, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(128, 1, 3, padding=1))


def batches(pictures: Sequence[Picture], steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pixels (B, 3, 96, 96) and their latents (B, L, 12, 12)."""
    rng = np.random.default_rng(0)
    side = CROP_PX // STRIDE_PX
    for _ in range(steps):
        pixels, latents = [], []
        for i in rng.integers(0, len(pictures), BATCH):
            picture = pictures[i]
            top, left = (int(rng.integers(0, n - side + 1)) for n in picture.latents.shape[1:])
            latents.append(picture.latents[:, top : top + side, left : left + side])
            y, x = top * STRIDE_PX, left * STRIDE_PX
            pixels.append(picture.pixels[:, y : y + CROP_PX, x : x + CROP_PX])
        yield torch.stack(pixels), torch.stack(latents)


def train(
    decoder: nn.Sequential, pictures: Sequence[Picture], encoder: nn.Module, *, adversarial: bool
) -> None:
    """Fit the decoder, in place."""
    decoder.requires_grad_(True).train()
    fresh = [
        p
        for layer in decoder
        if isinstance(layer, (nn.ConvTranspose2d, nn.Sequential))
        for p in layer.parameters()
    ]
    known = {id(p) for p in fresh}
    rest = [p for p in decoder.parameters() if id(p) not in known]
    groups = [{"params": rest, "lr": RATE}, {"params": fresh, "lr": NEW_RATE}]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    judge = make_discriminator() if adversarial else None
    judging = torch.optim.AdamW(judge.parameters(), lr=2 * RATE) if judge else None
    for step, (x, z) in enumerate(batches(pictures, STEPS)):
        made = decoder(z)
        loss = functional.l1_loss(made, x) + LATENT_WEIGHT * functional.l1_loss(encoder(made), z)
        if judge and judging:
            loss = loss - ADVERSARIAL_WEIGHT * judge(made).mean()
            hinge = torch.relu(1 - judge(x)).mean() + torch.relu(1 + judge(made.detach())).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if judge and judging:
            judging.zero_grad()
            hinge.backward()  # type: ignore[no-untyped-call]
            judging.step()
        if step % 50 == 0:
            print(f"  step {step}: loss {loss.item():.4f}", flush=True)
    decoder.requires_grad_(False).eval()


@torch.no_grad()
def decode(decoder: nn.Module, latents: Tensor) -> NDArray[np.uint8]:
    """(L, h / 8, w / 8) -> (h, w, 3)."""
    made = decoder(latents[None])[0].clamp(0, 1)
    values: NDArray[np.uint8] = (made.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return values


def psnr(made: NDArray[np.uint8], real: Tensor) -> float:
    """In dB, of one picture."""
    error = made.astype(np.float64) / 255 - real.permute(1, 2, 0).double().numpy()
    return float(-10 * np.log10((error**2).mean()))


def measure(decoder: nn.Module, pictures: Sequence[Picture], files: Path | None) -> str:
    """Cells of parameters and PSNR; with `files`, such as 1_fake/{}.narrow.png, keep the fakes."""
    found = []
    for picture in pictures:
        made = decode(decoder, picture.latents)
        if files:
            Image.fromarray(made).save(str(files).format(picture.name))
        found.append(psnr(made, picture.pixels))
    return f"{sum(p.numel() for p in decoder.parameters()):,} | {np.mean(found):.1f}"


@torch.no_grad()
def read(pairs: Path, kept: Path, autoencoder: Autoencoder) -> list[Picture]:
    """Every real of PAIRS, by name; latents are kept in a file."""
    latents = load_file(kept) if kept.is_file() else {}
    found = []
    for path in sorted((pairs / "0_real").glob("*.png")):
        values = torch.from_numpy(np.array(Image.open(path).convert("RGB")))
        pixels = values.permute(2, 0, 1).float() / 255
        if path.stem not in latents:
            latents[path.stem] = autoencoder.encoder(pixels[None])[0]
        found.append(Picture(path.stem, pixels, latents[path.stem]))
    save_file(latents, kept)
    return found


def write_manifest(pairs: Path, out: Path, names: Sequence[str], kinds: Sequence[str]) -> None:
    """Rows of the reals that became pairs, their round trips, and the new fakes."""
    with (pairs / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["pair"] in set(names)]
    trips = [row for row in rows if row["generator"] == "autoencoder round-trip"]
    for row in rows:
        if row["label"] == "real" or row in trips:
            shutil.copy(pairs / row["path"], out / row["path"])
    rows = [row for row in rows if row["label"] == "real" or row in trips]
    rows += [
        row | {"path": f"1_fake/{row['pair']}.{kind}.png", "generator": f"autoencoder {kind}"}
        for row in trips
        for kind in kinds
    ]
    with (out / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS)
        table.writeheader()
        table.writerows(rows)


def main() -> None:
    """Train what is not there, make its fakes, and print its row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=NAMES, choices=NAMES, metavar="NAME")
    args = parser.parse_args()
    for folder in ("decoders", "0_real", "1_fake"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    autoencoder = load_autoencoder(args.autoencoder)
    pictures = read(args.pairs, args.out / "latents.safetensors", autoencoder)
    learnt, judged = pictures[::2], pictures[1::2]
    cells = torch.cat([p.latents.flatten(1).T for p in learnt])[::7]  # (n, L)
    print("| decoder | parameters | PSNR, dB | seconds |\n|---|---|---|---|")
    print(f"| round-trip | {measure(autoencoder.decoder, judged, None)} | 0 |", flush=True)
    for name in args.only:
        start = time.monotonic()
        decoder = make_decoder(name, autoencoder.decoder, cells)
        path = args.out / "decoders" / f"{name}.safetensors"
        if path.is_file():
            decoder.load_state_dict(load_file(path))
        else:
            train(decoder, learnt, autoencoder.encoder, adversarial=name == "adversarial")
            save_file(decoder.state_dict(), path)
        seconds = time.monotonic() - start
        files = args.out / "1_fake" / f"{{}}.{name}.png"
        print(f"| {name} | {measure(decoder, judged, files)} | {seconds:.0f} |", flush=True)
    kinds = [n for n in NAMES if (args.out / "decoders" / f"{n}.safetensors").is_file()]
    write_manifest(args.pairs, args.out, [p.name for p in judged], kinds)


if __name__ == "__main__":
    main()
