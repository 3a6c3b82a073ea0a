"""Which base model an adapter belongs to: a guess, from shapes first, then from what it claims."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

UNKNOWN = "unknown"
CROSS_WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""Width of the text that cross-attention reads."""
CROSS = re.compile(r"^model\.(?:down|mid|up)_block.*_attn2_to_[kv]$")
FLUX_WIDTH, SD3_WIDTHS = 3072, (1536, 2432)
JOINT = re.compile(r"^model\.transformer_blocks_\d+_attn_(?:add_[qkv]_proj|to_[qkv])$")
CLAIMS = (
    (re.compile(r"sdxl|stable-diffusion-xl"), "sdxl"),
    (re.compile(r"sd_?v?2|stable-diffusion-v2"), "sd2"),
    (re.compile(r"sd_?v?1|stable-diffusion-v1"), "sd1"),
    (re.compile(r"flux"), "flux"),
    (re.compile(r"sd3|stable-diffusion-3"), "sd3"),
)
CLAIMED_IN = ("ss_base_model_version", "modelspec.architecture")


def family_of(
    modules: Iterable[tuple[str, tuple[int, int]]], metadata: Mapping[str, str]
) -> tuple[str, str | None]:
    """The family and, where the file claims another one, what it claims.

    Args:
        modules: canonical name and (m, n) of each.
        metadata: of the file; not trusted.
    """
    shown = _by_shape(dict(modules))
    claimed = _by_claim(metadata)
    if shown and claimed and shown != claimed:
        return shown, claimed
    return shown or claimed or UNKNOWN, None


def are_comparable(first: str, second: str) -> bool:
    """False when both families are known and differ."""
    return first == second or UNKNOWN in (first, second)


def _by_shape(modules: Mapping[str, tuple[int, int]]) -> str | None:
    for name, (_, columns) in modules.items():
        if CROSS.match(name):
            return CROSS_WIDTHS.get(columns)
        if name.startswith("model.single_transformer_blocks_") and columns == FLUX_WIDTH:
            return "flux"
    for name, (_, columns) in modules.items():
        if JOINT.match(name):
            return "flux" if columns == FLUX_WIDTH else "sd3" if columns in SD3_WIDTHS else None
    return None


def _by_claim(metadata: Mapping[str, str]) -> str | None:
    for key in CLAIMED_IN:
        text = metadata.get(key, "").lower()
        for pattern, family in CLAIMS:
            if pattern.search(text):
                return family
    return None
