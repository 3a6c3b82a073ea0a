"""A module's path in any dialect -> one canonical name: `model.mid_block_attentions_0_proj_in`.

kohya writes underscores for dots, which cannot be undone, so all names go that way. The part before
the dot is the component: `model` (the denoiser) or `te1`, `te2`, `te3` (text encoders). Names of
the original SDXL, Flux and SD3 code become those of diffusers.

Sources: diffusers lora_conversion_utils, and the module names of both code bases.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum

MODEL = "model"


class Group(StrEnum):
    """Part of a model that a module belongs to."""

    ATTN_SELF = "attn-self"
    ATTN_CROSS = "attn-cross"
    FF = "ff"
    CONV = "conv"
    PROJ = "proj"
    TIME_EMB = "time-emb"
    TEXT_ENCODER = "text-encoder"


COMPONENTS = (
    (re.compile(r"(?:lora|lycoris)_te1?_"), "te1"),
    (re.compile(r"(?:lora|lycoris)_te2_"), "te2"),
    (re.compile(r"(?:lora|lycoris)_te3_"), "te3"),
    (re.compile(r"text_encoders?[._]clip_l[._]transformer[._]"), "te1"),
    (re.compile(r"text_encoders?[._]clip_g[._]transformer[._]"), "te2"),
    (re.compile(r"text_encoders?[._]t5xxl[._]transformer[._]"), "te3"),
    (re.compile(r"text_encoder_2\."), "te2"),
    (re.compile(r"text_encoder_3\."), "te3"),
    (re.compile(r"text_encoder\."), "te1"),
    (re.compile(r"(?:lora|lycoris)_(?:unet|transformer|prior_unet|prior)_"), MODEL),
    (re.compile(r"(?:unet|transformer|prior|diffusion_model|model\.diffusion_model)\."), MODEL),
    (re.compile(r"lycoris_"), MODEL),
)
"""Beginnings of paths, and the component that they mean; the first that fits."""
WRAPPER = re.compile(r"^(?:base_model\.model\.|module\.)+")
"""What PEFT, or a parallel trainer, puts in front of everything."""
TEXT_MODEL = re.compile(r"^text_model[._]")

Rewrite = str | Callable[[re.Match[str]], str]


def _input_block(match: re.Match[str]) -> str:
    block, layer = divmod(int(match[1]) - 1, 3)
    return f"down_blocks_{block}_{_place(match[2], layer, match[3])}"


def _output_block(match: re.Match[str]) -> str:
    block, layer = divmod(int(match[1]), 3)
    if match[2] == "2" or match[3] == "conv":
        return f"up_blocks_{block}_upsamplers_0_{match[3]}"
    return f"up_blocks_{block}_{_place(match[2], layer, match[3])}"


def _place(kind: str, layer: int, rest: str) -> str:
    if rest == "op":
        return "downsamplers_0_conv"
    return f"{'attentions' if kind == '1' else 'resnets'}_{layer}_{rest}"


def _middle_block(match: re.Match[str]) -> str:
    place = {"0": "resnets_0", "1": "attentions_0", "2": "resnets_1"}[match[1]]
    return f"mid_block_{place}_{match[2]}"


BLOCKS: tuple[tuple[re.Pattern[str], Rewrite], ...] = (
    (re.compile(r"^input_blocks_0_0$"), "conv_in"),
    (re.compile(r"^input_blocks_(\d+)_([01])_(.+)$"), _input_block),
    (re.compile(r"^middle_block_([012])_(.+)$"), _middle_block),
    (re.compile(r"^output_blocks_(\d+)_([012])_(.+)$"), _output_block),
    (re.compile(r"^time_embed_0$"), "time_embedding_linear_1"),
    (re.compile(r"^time_embed_2$"), "time_embedding_linear_2"),
    (re.compile(r"^label_emb_0_0$"), "add_embedding_linear_1"),
    (re.compile(r"^label_emb_0_2$"), "add_embedding_linear_2"),
    (re.compile(r"^out_2$"), "conv_out"),
    (re.compile(r"^double_blocks_(\d+)_"), r"transformer_blocks_\1_"),
    (re.compile(r"^joint_blocks_(\d+)_"), r"transformer_blocks_\1_"),
    (re.compile(r"^single_blocks_(\d+)_linear2$"), r"single_transformer_blocks_\1_proj_out"),
    (re.compile(r"^single_blocks_(\d+)_"), r"single_transformer_blocks_\1_"),
)
RESNET = (
    ("in_layers_2", "conv1"),
    ("out_layers_3", "conv2"),
    ("emb_layers_1", "time_emb_proj"),
    ("skip_connection", "conv_shortcut"),
)
"""Endings inside a residual block."""
TRANSFORMER = (
    ("img_attn_proj", "attn_to_out_0"),
    ("txt_attn_proj", "attn_to_add_out"),
    ("img_attn_qkv", "attn_qkv"),
    ("txt_attn_qkv", "attn_add_qkv"),
    ("img_mlp_0", "ff_net_0_proj"),
    ("img_mlp_2", "ff_net_2"),
    ("txt_mlp_0", "ff_context_net_0_proj"),
    ("txt_mlp_2", "ff_context_net_2"),
    ("img_mod_lin", "norm1_linear"),
    ("txt_mod_lin", "norm1_context_linear"),
    ("x_block_attn_qkv", "attn_qkv"),
    ("context_block_attn_qkv", "attn_add_qkv"),
    ("x_block_attn_proj", "attn_to_out_0"),
    ("context_block_attn_proj", "attn_to_add_out"),
    ("x_block_mlp_fc1", "ff_net_0_proj"),
    ("x_block_mlp_fc2", "ff_net_2"),
    ("context_block_mlp_fc1", "ff_context_net_0_proj"),
    ("context_block_mlp_fc2", "ff_context_net_2"),
    ("x_block_adaLN_modulation_1", "norm1_linear"),
    ("context_block_adaLN_modulation_1", "norm1_context_linear"),
    ("modulation_lin", "norm_linear"),
)
"""Endings inside a block of the original Flux and SD3 code; `linear1` is split, see `fused`."""
ATTENTION = (
    (re.compile(r"_to_(q|k|v)_lora$"), r"_to_\1"),
    (re.compile(r"_to_out(?:_lora)?$"), "_to_out_0"),
)
TEXT_ATTENTION = (
    (re.compile(r"_to_(q|k|v)(?:_lora)?$"), r"_\1_proj"),
    (re.compile(r"_to_out(?:_0)?(?:_lora)?$"), "_out_proj"),
)
"""Old diffusers calls the projections of text encoders like those of the denoiser."""
GROUPS = (
    (re.compile(r"time_emb|_embedding_linear|norm\d?(?:_context)?_linear$|time_text_embed"), "T"),
    (re.compile(r"attn2_|cross_attn|_crossattn"), "X"),
    (re.compile(r"_ff_|ff_net|ff_context|mlp|feed_forward|_ffn_"), "F"),
    (re.compile(r"attn\d?_|attention_|_attn$|_to_(?:q|k|v|out_0)$|_[qkv]_proj$"), "S"),
    (re.compile(r"conv|resnets|samplers"), "C"),
)
GROUP_OF = {
    "T": Group.TIME_EMB,
    "X": Group.ATTN_CROSS,
    "F": Group.FF,
    "S": Group.ATTN_SELF,
    "C": Group.CONV,
}


def canonical_name(path: str) -> str:
    """Component and name of a module, the same from every dialect.

    Args:
        path: as the file has it, without the ending that says which factor it is.
    """
    component, rest = _component(WRAPPER.sub("", path))
    rest = rest.replace(".processor.", ".").removesuffix(".processor").replace(".", "_")
    if component == MODEL:
        return f"{component}.{_of_diffusers(rest)}"
    for pattern, replacement in TEXT_ATTENTION:
        rest = pattern.sub(replacement, rest)
    return f"{component}.{rest}"


def group_of(name: str, *, is_convolution: bool) -> Group:
    """Which part of the model a module belongs to, by its canonical name.

    Args:
        name: from `canonical_name`.
        is_convolution: its kernel is larger than 1 x 1.
    """
    component, _, rest = name.partition(".")
    if component != MODEL:
        return Group.TEXT_ENCODER
    for pattern, letter in GROUPS:
        if pattern.search(rest):
            return GROUP_OF[letter]
    return Group.CONV if is_convolution else Group.PROJ


def _component(path: str) -> tuple[str, str]:
    for pattern, component in COMPONENTS:
        if found := pattern.match(path):
            return component, WRAPPER.sub("", path[found.end() :])
    return ("te1" if TEXT_MODEL.match(path) else MODEL), path


def _of_diffusers(name: str) -> str:
    for pattern, replacement in BLOCKS:
        name, count = pattern.subn(replacement, name)
        if count:
            break
    for old, new in (*RESNET, *TRANSFORMER):
        if name.endswith(f"_{old}"):
            name = name.removesuffix(old) + new
            break
    for pattern, new in ATTENTION:
        name = pattern.sub(new, name)
    return name
