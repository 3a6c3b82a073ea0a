"""A tensor's name -> the module it belongs to, and its part in the adapter.

Sources: kohya-ss sd-scripts networks/lora.py; diffusers lora_conversion_utils; PEFT save_and_load;
LyCORIS modules; A1111 network_lora. Names are facts; no code is taken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How an adapter writes dW."""

    LORA = "LoRA"
    LOHA = "LoHa"
    LOKR = "LoKr"


@dataclass(frozen=True, slots=True)
class Part:
    """What one tensor is."""

    module: str
    """Path of the layer as the file has it."""
    role: str
    """`down`, `up`, `mid`, `alpha`, `scale`; of LoHa and LoKr, their own names."""
    kind: Kind | None = None
    """None for what every kind may have."""
    dialect: str | None = None
    """Who writes such names; None for what several write."""


KOHYA, DIFFUSERS_OLD, PEFT, LYCORIS = "kohya", "diffusers (old)", "PEFT", "LyCORIS"

PAIRS = (
    (".lora_linear_layer.down.weight", "down", DIFFUSERS_OLD),
    (".lora_linear_layer.up.weight", "up", DIFFUSERS_OLD),
    (".lora.down.weight", "down", DIFFUSERS_OLD),
    (".lora.up.weight", "up", DIFFUSERS_OLD),
    ("_lora.down.weight", "down", DIFFUSERS_OLD),
    ("_lora.up.weight", "up", DIFFUSERS_OLD),
    (".lora_down.weight", "down", KOHYA),
    (".lora_mid.weight", "mid", KOHYA),
    (".lora_up.weight", "up", KOHYA),
    (".lora_A.weight", "down", PEFT),
    (".lora_B.weight", "up", PEFT),
    (".lora_embedding_A", "down", PEFT),
    (".lora_embedding_B", "up", PEFT),
)
"""Longer endings before those that they end with."""
SHARED = (
    (".alpha", "alpha"),
    (".scale", "scale"),
    (".dora_scale", "dora"),
    (".lora_magnitude_vector", "dora"),
    (".lora_magnitude_vector.weight", "dora"),
)
IGNORED = (".lora_B.bias", ".lora_up.bias", ".diff", ".diff_b", ".set_weight")
"""Changes of biases and whole weights beside the factors: counted, not compared."""
LYCORIS_ROLE = re.compile(
    r"\.(hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2))(?:\.weight)?$"
)
ADAPTER_NAME = re.compile(r"\.(lora_(?:embedding_)?[AB]|lora_magnitude_vector)\.(?!weight$)([^.]+)")
"""In raw PEFT state dicts the adapter's own name stands behind the role."""
EMBEDDING = re.compile(r"^(?:bundle_emb|clip_[lg]$|emb_params)")
"""Textual inversion that travels with an adapter."""
UNSUPPORTED = (
    (re.compile(r"\.(?:a1|a2|b1|b2)\.weight$"), "GLoRA"),
    (re.compile(r"\.(?:oft_blocks|oft_diag|oft_[RrsS])\b"), "OFT"),
    (re.compile(r"\.boft_[RrsS]\b"), "BOFT"),
    (re.compile(r"\.(?:on_input|ia3_l)\b"), "IA3"),
    (re.compile(r"\.(?:w_norm|b_norm)$"), "norm"),
    (re.compile(r"\.vera_lambda_[bd]\b"), "VeRA"),
)


def part_of(name: str) -> Part | None:
    """What a tensor is by its name; None when it is no part of an adapter that is compared."""
    plain = ADAPTER_NAME.sub(r".\1", name)
    if plain.endswith((".lora_A", ".lora_B")):
        plain += ".weight"
    for ending, role, dialect in PAIRS:
        if plain.endswith(ending):
            return Part(plain.removesuffix(ending), role, Kind.LORA, dialect)
    for ending, role in SHARED:
        if plain.endswith(ending):
            return Part(plain.removesuffix(ending), role)
    if found := LYCORIS_ROLE.search(plain):
        kind = Kind.LOHA if found[1].startswith("hada") else Kind.LOKR
        return Part(plain[: found.start()], found[1], kind, LYCORIS)
    return None


def is_ignored(name: str) -> bool:
    """True for what may stand beside the factors and is not compared."""
    return name.endswith(IGNORED) or EMBEDDING.match(name) is not None


def unsupported_type(name: str) -> str | None:
    """The type of adapter that a tensor belongs to, if it is one that is known and not compared."""
    return next((kind for pattern, kind in UNSUPPORTED if pattern.search(name)), None)
