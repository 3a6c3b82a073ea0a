"""What indexing and searching LoRA files cost: made files, with the layers of Stable Diffusion 1.5.

Everything counts from a warm disk cache, and the best of five is given. Wall time is that of the
machine as busy as it is; processor time is that of the program, and half of it what two cores that
nobody else uses would take.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fakescan.loras.collection import Collection
from fakescan.loras.index import SKETCHES, Contents, Entry, sketch_path, write_contents
from fakescan.loras.matrix import compare_all
from fakescan.loras.means import write_means
from fakescan.loras.search import Search, search
from fakescan.loras.sketch import Projector
from fakescan.loras.store import Sketch, Summary, write_sketch

FILES = 24
ROUNDS = 5
BLOCKS = (
    ("down_blocks_0", 320, 2),
    ("down_blocks_1", 640, 2),
    ("down_blocks_2", 1280, 2),
    ("mid_block", 1280, 1),
    ("up_blocks_1", 1280, 3),
    ("up_blocks_2", 640, 3),
    ("up_blocks_3", 320, 3),
)
LEAST_MB_PER_S, MOST_MB, MOST_SEARCH_S = 150.0, 300.0, 1.0


def layers(depth: int = 1) -> Iterator[tuple[str, int, int]]:
    """Yield name, rows and columns of the layers that a usual adapter changes."""
    for block, width, count in BLOCKS:
        for place in range(count):
            stem = f"{block}_attentions_{place}"
            yield f"{stem}_proj_in", width, width
            yield f"{stem}_proj_out", width, width
            for inner in range(depth):
                yield from _transformer(f"{stem}_transformer_blocks_{inner}", width)


def _transformer(stem: str, width: int) -> Iterator[tuple[str, int, int]]:
    for attention, text in (("attn1", width), ("attn2", 768)):
        yield f"{stem}_{attention}_to_q", width, width
        yield f"{stem}_{attention}_to_k", width, text
        yield f"{stem}_{attention}_to_v", width, text
        yield f"{stem}_{attention}_to_out_0", width, width
    yield f"{stem}_ff_net_0_proj", 8 * width, width
    yield f"{stem}_ff_net_2", width, 4 * width


def make_file(path: Path, rank: int, seed: int, depth: int = 1) -> None:
    """Write random factors in float16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pool = (rng.standard_normal(1 << 20) * 0.05).astype("<f2")
    header, place, sizes = {}, 0, []
    for name, rows, columns in layers(depth):
        for role, shape in (("lora_up", (rows, rank)), ("lora_down", (rank, columns))):
            size = 2 * shape[0] * shape[1]
            slot = {"dtype": "F16", "shape": shape, "data_offsets": [place, place + size]}
            header[f"lora_unet_{name}.{role}.weight"] = slot
            sizes.append(size // 2)
            place += size
    raw = json.dumps(header).encode()
    with path.open("wb") as stream:
        stream.write(len(raw).to_bytes(8, "little") + raw)
        for size in sizes:
            stream.write(np.resize(np.roll(pool, int(rng.integers(1 << 20))), size).tobytes())


@dataclass(frozen=True, slots=True)
class Cost:
    """The fastest of a few runs."""

    wall_s: float
    cpu_s: float
    """Of all cores, in this process and those that it has waited for."""


def best(run: Callable[[], object], rounds: int = ROUNDS) -> Cost:
    """Run a few times."""
    walls, cpus = [], []
    for _ in range(rounds):
        begun, before = time.perf_counter(), os.times()
        run()
        walls.append(time.perf_counter() - begun)
        cpus.append(sum(os.times()[:4]) - sum(before[:4]))
    return Cost(min(walls), min(cpus))


def speed_report(folder: Path) -> list[str]:
    """Print what everything costs; gives the thresholds that were missed.

    Thresholds hold for the wall time, so the machine must be idle: processor time says nothing of
    how well the work spreads over cores.
    """
    print("\n| what | wall | processor | rate |\n|---|---|---|---|")
    size, cost = indexing(folder)
    rate = size / cost.wall_s
    _row(f"index {FILES} files of rank 16, {size:.0f} MB", cost, f"{rate:.0f} MB/s")
    checks = [(rate >= LEAST_MB_PER_S, f"indexing {rate:.0f} MB/s, at least {LEAST_MB_PER_S:.0f}")]
    for count, side in ((1000, 32), (10_000, 16)):
        ranking, everything = searching(folder, count, side)
        name = f"{count:,} files, sketches of {side}"
        _row(f"rank {name}", ranking)
        if everything:
            _row(f"all pairs of {name}", everything)
        if (count, side) == (1000, 32):
            is_fast = ranking.wall_s <= MOST_SEARCH_S
            checks.append((is_fast, f"ranking {name} {ranking.wall_s:.2f} s"))
    again = reranking(folder)
    _row(f"compare {FILES} files exactly with one", again)
    size, peak = memory(folder)
    print(f"\nA file of {size:.0f} MB takes {peak:.0f} MB of memory to index.")
    checks.append((peak <= MOST_MB, f"{peak:.0f} MB of memory, at most {MOST_MB:.0f}"))
    return [words for is_met, words in checks if not is_met]


def _row(name: str, cost: Cost, rate: str = "") -> None:
    print(f"| {name} | {cost.wall_s:.2f} s | {cost.cpu_s:.2f} s | {rate} |", flush=True)


def indexing(folder: Path) -> tuple[float, Cost]:
    """MB, and what `fakescan lora index` costs, the start of the program included."""
    files = folder / "files"
    for number in range(FILES):
        if not (files / f"{number}.safetensors").exists():
            make_file(files / f"{number}.safetensors", 16, number)
    for path in files.iterdir():
        path.read_bytes()
    total = sum(path.stat().st_size for path in files.iterdir()) / 1e6

    def run() -> None:
        shutil.rmtree(folder / "files.index", ignore_errors=True)
        _index(files, folder / "files.index")

    return total, best(run)


def _index(files: Path, index: Path) -> None:
    command = [sys.executable, "-m", "fakescan", "lora", "index", str(files), "--out", str(index)]
    subprocess.run([*command, "-j", "2", "-q"], check=True)


def memory(folder: Path) -> tuple[float, float]:
    """MB of a large file, and the peak of the process that indexes it."""
    files = folder / "large"
    if not (files / "large.safetensors").exists():
        make_file(files / "large.safetensors", 128, 0, depth=11)
    shutil.rmtree(folder / "large.index", ignore_errors=True)
    code = (
        "from pathlib import Path\nfrom fakescan.cli import main\n"
        f"main(['lora', 'index', {str(files)!r}, '--out', {str(folder / 'large.index')!r}, '-q'])\n"
        "lines = Path('/proc/self/status').read_text().splitlines()\n"
        "print(*[line.split()[1] for line in lines if line.startswith('VmHWM')])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return (files / "large.safetensors").stat().st_size / 1e6, int(done.stdout) / 1e3


def searching(folder: Path, count: int, side: int) -> tuple[Cost, Cost | None]:
    """What it costs to rank so many made sketches, and to compare 1,000 of them with each other."""
    index = folder / f"made-{count}-{side}"
    if not index.exists():
        make_index(index, count, side)
    collection = Collection(index)
    query = collection.member(collection.contents.entries[0]).sketch
    ranking = best(lambda: Search(collection, query).rank())
    if count > 1000:
        return ranking, None
    members = collection.members()
    return ranking, best(lambda: compare_all(collection, members, is_exact=False), 1)


def make_index(index: Path, count: int, side: int) -> None:
    """Write an index of sketches that belong to no file."""
    (index / SKETCHES).mkdir(parents=True)
    rng = np.random.default_rng(0)
    keys = tuple(sorted(f"model.{name} {m}x{n}" for name, m, n in layers()))
    length = Projector(side).length
    summary = Summary(
        dialect="kohya", kinds=("LoRA",), family="sd1", modules=len(keys), rank_min=16,
        rank_max=16, norm=1.0, warnings=(),
    )  # fmt: skip
    entries = []
    for number in range(count):
        rows = rng.standard_normal((len(keys), length), dtype=np.float32)
        rows *= np.sqrt(2.0 / (rows**2).sum(axis=1, keepdims=True))
        sha256 = f"{number:064x}"
        sketch = Sketch(keys, ("ff",) * len(keys), rows, summary)
        write_sketch(sketch_path(index, sha256), sketch)
        entries.append(Entry(f"{number}.safetensors", 1, 1, sha256))
    write_means(index, [sketch_path(index, e.sha256) for e in entries])
    write_contents(index, Contents(index / "none", side, tuple(entries)))


def reranking(folder: Path) -> Cost:
    """What a search with exact comparison costs."""
    collection = Collection(folder / "files.index")
    path = folder / "files" / "0.safetensors"
    return best(lambda: search(collection, path, top=10), 2)
