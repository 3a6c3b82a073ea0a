"""Read damaged LoRA files for a while; one that ends without a description or a reason is kept.

Seeds are files of every dialect and type. Damage is of three kinds: of bytes, as a bad disk makes
it; of the header's values, as a liar makes it, with the rest put right again so that it gets deep;
and of the factors' values. `--seed` repeats a run. A reading that takes longer than 10 s, or grows
the process by more than 300 MB, is a finding, too. Exit code 1 when something was found; a finding
becomes a test by its bytes in tests/loras/test_fuzz_findings.py.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from fakescan.errors import LoraError
from fakescan.loras.reading import sketch_of
from fakescan.loras.sketch import Projector

TIMEOUT_S = 10.0
MAX_GROWTH_KB = 300_000
TYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "U8", "I64", "BOOL", "F4")
NUMBERS = (0, 1, -1, 2, 3, 7, 255, 2**31, 2**32, 2**53, 2**63, 2**64, 10**30, 0.5, True, None, "4")
TEXTS = ("", "../../etc/passwd", "\x1b[2J", "a" * 600, "é", "\ud800", "__metadata__", "x.alpha")
ENDINGS = (
    (("lora_up.weight", (8, 3)), ("lora_down.weight", (3, 6)), ("alpha", ())),
    (("lora_A.weight", (3, 6)), ("lora_B.weight", (8, 3))),
    (("lora_up.weight", (8, 3, 1, 1)), ("lora_down.weight", (3, 6, 3, 3)), ("dora_scale", (8, 1))),
    (("lora_up.weight", (8, 3)), ("lora_mid.weight", (3, 2, 3, 3)), ("lora_down.weight", (2, 6))),
    (("hada_w1_a", (8, 2)), ("hada_w1_b", (2, 6)), ("hada_w2_a", (8, 2)), ("hada_w2_b", (2, 6))),
    (("lokr_w1", (4, 2)), ("lokr_w2_a", (2, 2)), ("lokr_w2_b", (2, 3)), ("alpha", ())),
    (("lokr_w1", (4, 2)), ("lokr_w2", (2, 3, 3, 3))),
    (("oft_blocks", (2, 4, 4)),),
)
STEMS = (
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k",
    "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
    "base_model.model.mid_block.attentions.0.proj_in",
    "lora_unet_double_blocks_0_img_attn_qkv",
    "lora_unet_single_blocks_0_linear1",
)

Tensors = dict[str, dict[str, Any]]


def seeds(chance: random.Random) -> Iterator[tuple[Tensors, bytes]]:
    """Yield whole files as header values and data."""
    rng = np.random.default_rng(chance.randrange(2**32))
    for ending in ENDINGS:
        for stem in STEMS:
            header: Tensors = {"__metadata__": {"ss_base_model_version": "sdxl", "ss_tags": "[{"}}
            data = b""
            for name, shape in ending:
                raw = rng.standard_normal(shape).astype("<f4").tobytes()
                slot = {"dtype": "F32", "shape": list(shape)}
                header[f"{stem}.{name}"] = slot | {
                    "data_offsets": [len(data), len(data) + len(raw)]
                }
                data += raw
            yield header, data


def damaged(header: Tensors, data: bytes, chance: random.Random) -> bytes:
    """One file with wounds of one kind or several."""
    kinds = chance.choice(("bytes", "header", "values", "header", "both"))
    if kinds in ("header", "both"):
        header = json.loads(json.dumps(header))
        for _ in range(chance.choice((1, 1, 2, 4))):
            _lie(header, chance)
        if chance.random() < 0.5:
            data = _put_right(header, data)
    if kinds == "values":
        values = np.frombuffer(data, "<f4").copy()
        for _ in range(chance.choice((1, 3, 20))):
            place = chance.randrange(len(values))
            values[place] = chance.choice((0, np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 1e-38))
        data = values.tobytes()
        if chance.random() < 0.1:
            data = bytes(len(data))
    raw = json.dumps(header).encode("utf-8", "backslashreplace")
    whole = len(raw).to_bytes(8, "little") + raw + data
    return _wounded(whole, chance) if kinds in ("bytes", "both") else whole


def _lie(header: Tensors, chance: random.Random) -> None:
    name = chance.choice(list(header))
    slot = header[name]
    kind = chance.randrange(7)
    if kind == 0:
        header[chance.choice(TEXTS)] = header.pop(name)
    elif kind == 1 and slot.get("shape"):
        slot["shape"][chance.randrange(len(slot["shape"]))] = chance.choice(NUMBERS)
    elif kind == 2:
        slot["dtype"] = chance.choice(TYPES)
    elif kind == 3 and slot.get("data_offsets"):
        slot["data_offsets"][chance.randrange(2)] = chance.choice(NUMBERS)
    elif kind == 4 and slot.get("shape") is not None:
        slot["shape"].insert(0, chance.choice((1, 1, 2, 3)))
    elif kind == 5:
        header[name + chance.choice((".default", ".weight", "_x"))] = dict(slot)
    else:
        slot[chance.choice(TEXTS)] = chance.choice(NUMBERS)


def _put_right(header: Tensors, data: bytes) -> bytes:
    """Offsets that fit the shapes, so that the lie is met later."""
    sizes = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8}
    place = 0
    for name, slot in header.items():
        shape = slot.get("shape")
        if name == "__metadata__" or not isinstance(shape, list):
            continue
        count = 1
        for side in shape:
            count *= side if type(side) is int and 0 < side < 300 else 1
        end = place + min(count, 100_000) * sizes.get(slot.get("dtype", ""), 1)
        slot["data_offsets"] = [place, end]
        place = end
    return (data * (place // max(len(data), 1) + 1))[:place]


def _wounded(whole: bytes, chance: random.Random) -> bytes:
    wounded = bytearray(whole)
    for _ in range(chance.choice((1, 1, 2, 8))):
        place = chance.randrange(len(wounded) + 1)
        length = chance.choice((1, 1, 2, 8, 64))
        kind = chance.randrange(4)
        if kind == 0:
            wounded[place : place + length] = chance.randbytes(length)
        elif kind == 1:
            wounded = wounded[: max(1, place)]
        elif kind == 2:
            wounded[place:place] = wounded[place : place + 64]
        else:
            wounded[place : place + length] = (
                chance.choice((b"[", b"{", b'"', b"\\", b"9")) * length
            )
    return bytes(wounded)


def fuzz(seconds: float, seed: int, out: Path, folder: Path) -> Counter[str]:
    """Read damaged files until the time is up; keep those that end badly."""
    chance = random.Random(seed)
    files = list(seeds(chance))
    projector = Projector(16)
    ends: Counter[str] = Counter()
    stop = time.monotonic() + seconds
    path = folder / f".fuzz-{seed}.safetensors"
    try:
        while time.monotonic() < stop:
            data = damaged(*chance.choice(files), chance)
            path.write_bytes(data)
            end = _end(path, projector)
            ends[end] += 1
            if end not in ("described", "refused"):
                out.mkdir(parents=True, exist_ok=True)
                (out / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    finally:
        path.unlink(missing_ok=True)
    return ends


def _end(path: Path, projector: Projector) -> str:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    try:
        sketch = sketch_of(path, projector)
        end = "described" if np.isfinite(sketch.values).all() else "a sketch that is no number"
    except LoraError as e:
        end = "refused" if str(e).isprintable() else "a reason that is not one plain line"
    except Exception as e:  # noqa: BLE001  (that is what is looked for)
        return f"{type(e).__name__}: {e}"[:120]
    if time.monotonic() - begun > TIMEOUT_S:
        return "took longer"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return "took too much memory" if grown > MAX_GROWTH_KB else end


def main() -> int:
    """Fuzz, and say how many files ended how."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    arguments = parser.parse_args()
    warnings.simplefilter("error")  # as in the tests: a warning is a finding
    with threadpool_limits(1):
        ends = fuzz(arguments.seconds, arguments.seed, arguments.out, Path.cwd())
    for end, count in ends.most_common():
        print(f"{count:8} {end}")
    return 1 if set(ends) - {"described", "refused"} else 0


if __name__ == "__main__":
    sys.exit(main())
