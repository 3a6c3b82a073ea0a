"""The same layer gets the same name from every dialect."""

import numpy as np
import pytest

from fakescan.errors import LoraError, LoraUnsupported
from fakescan.loras.canonical import canonical_name, group_of
from fakescan.loras.describe import describe
from fakescan.loras.fused import pieces
from loras_made import LAYERS, diffusers, diffusers_old, factors, kohya, peft, write

TO_Q = "model.down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
TEXT_Q = "te1.text_model_encoder_layers_0_self_attn_q_proj"
SAME = {
    TO_Q: [
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
        "lycoris_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora",
        "base_model.model.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "base_model.model.unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q",
    ],
    TEXT_Q: [
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
        "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora",
        "text_encoders.clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj",
        "base_model.model.text_model.encoder.layers.0.self_attn.q_proj",
    ],
    "te2.text_model_encoder_layers_3_mlp_fc1": [
        "lora_te2_text_model_encoder_layers_3_mlp_fc1",
        "text_encoder_2.text_model.encoder.layers.3.mlp.fc1",
    ],
    "model.up_blocks_1_attentions_2_transformer_blocks_1_attn2_to_out_0": [
        "lora_unet_output_blocks_5_1_transformer_blocks_1_attn2_to_out_0",
        "unet.up_blocks.1.attentions.2.transformer_blocks.1.attn2.to_out.0",
        "unet.up_blocks.1.attentions.2.transformer_blocks.1.attn2.processor.to_out_lora",
    ],
    "model.down_blocks_0_downsamplers_0_conv": ["lora_unet_input_blocks_3_0_op"],
    "model.up_blocks_0_upsamplers_0_conv": [
        "lora_unet_output_blocks_2_2_conv",
        "lora_unet_output_blocks_2_1_conv",
    ],
    "model.mid_block_resnets_1_conv2": [
        "lora_unet_middle_block_2_out_layers_3",
        "unet.mid_block.resnets.1.conv2",
    ],
    "model.down_blocks_2_resnets_1_time_emb_proj": ["lora_unet_input_blocks_8_0_emb_layers_1"],
    "model.time_embedding_linear_1": ["lora_unet_time_embed_0", "unet.time_embedding.linear_1"],
    "model.transformer_blocks_4_attn_to_out_0": [
        "lora_unet_double_blocks_4_img_attn_proj",
        "transformer.transformer_blocks.4.attn.to_out.0",
        "diffusion_model.double_blocks.4.img_attn.proj",
        "lora_transformer_joint_blocks_4_x_block_attn_proj",
    ],
    "model.single_transformer_blocks_7_proj_out": [
        "lora_unet_single_blocks_7_linear2",
        "transformer.single_transformer_blocks.7.proj_out",
    ],
}


@pytest.mark.parametrize(("name", "path"), [(n, p) for n, paths in SAME.items() for p in paths])
def test_a_module_has_one_name_in_every_dialect(name, path):
    assert canonical_name(path) == name


@pytest.mark.parametrize(
    ("name", "group"),
    [
        (TO_Q, "attn-self"),
        (TEXT_Q, "text-encoder"),
        ("model.up_blocks_1_attentions_2_transformer_blocks_1_attn2_to_out_0", "attn-cross"),
        ("model.mid_block_attentions_0_transformer_blocks_0_ff_net_2", "ff"),
        ("model.mid_block_attentions_0_proj_in", "proj"),
        ("model.mid_block_resnets_1_conv2", "conv"),
        ("model.down_blocks_2_resnets_1_time_emb_proj", "time-emb"),
        ("model.transformer_blocks_4_attn_to_out_0", "attn-self"),
        ("model.transformer_blocks_4_norm1_linear", "time-emb"),
        ("model.single_transformer_blocks_7_proj_mlp", "ff"),
    ],
)
def test_a_module_belongs_to_a_group(name, group):
    assert group_of(name, is_convolution=False) == group


def test_fused_layers_are_cut_into_the_ones_that_others_have():
    found = pieces("model.transformer_blocks_0_attn_qkv", 9, 3)
    assert [(p.name, p.begin, p.end) for p in found] == [
        ("model.transformer_blocks_0_attn_to_q", 0, 3),
        ("model.transformer_blocks_0_attn_to_k", 3, 6),
        ("model.transformer_blocks_0_attn_to_v", 6, 9),
    ]
    found = pieces("model.single_transformer_blocks_0_linear1", 21, 3)
    assert [(p.name.rpartition("_0_")[2], p.begin, p.end) for p in found][-1] == ("proj_mlp", 9, 21)


@pytest.mark.parametrize("dialect", [kohya, peft, diffusers, diffusers_old])
def test_a_file_is_described_alike_in_every_dialect(dialect, tmp_path):
    path = write(tmp_path / "a.safetensors", dialect(factors(0)))
    wanted = describe(write(tmp_path / "b.safetensors", kohya(factors(0))))
    found = describe(path)
    assert [(m.name, m.group, m.rank) for m in found.modules] == [
        (m.name, m.group, m.rank) for m in wanted.modules
    ]
    assert found.norm == pytest.approx(wanted.norm, rel=1e-6)


def test_the_dialects_are_told_apart(tmp_path):
    names = {
        "kohya": kohya,
        "PEFT": peft,
        "diffusers": diffusers,
        "diffusers (old)": diffusers_old,
    }
    for name, dialect in names.items():
        path = write(tmp_path / "a.safetensors", dialect(factors(0)))
        assert describe(path).dialect == name


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        ("oft_blocks", "OFT"),
        ("oft_diag", "OFT"),
        ("oft_R", "OFT"),
        ("on_input", "IA3"),
        ("a1.weight", "GLoRA"),
        ("w_norm", "norm"),
    ],
)
def test_a_type_that_is_not_compared_is_named(ending, kind, tmp_path):
    tensors = {f"lora_unet_mid_block_x.{ending}": np.ones((2, 2), "<f4")}
    path = write(tmp_path / "a.safetensors", tensors)
    with pytest.raises(LoraUnsupported, match=f"unsupported adapter type {kind} "):
        describe(path)


def changed(change):
    tensors = kohya(factors(0), alpha=4.0)
    change(tensors)
    return tensors


FIRST, LAST = next(iter(LAYERS)), "mid_block.attentions.0.transformer_blocks.0.ff.net.2"
STEM = "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_2"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.pop(f"{STEM}.lora_up.weight"), "lacks its factor 'up'"),
        (lambda t: t.pop(f"{STEM}.lora_down.weight"), "lacks its factor 'down'"),
        (lambda t: t.update({f"{STEM}.lora_up.weight": np.ones((20, 5), "<f4")}), "differ in rank"),
        (lambda t: t.update({f"{STEM}.lora_up.weight": np.ones(20, "<f4")}), "no factors of a"),
        (lambda t: t.update({f"{STEM}.lora_A.weight": np.ones((4, 48), "<f4")}), "the same factor"),
        (
            lambda t: t.update(peft({LAST: factors(0)[LAST]})),
            "are the same module",
        ),
        (
            lambda t: t.update({f"{STEM}.hada_w1_a": np.ones((4, 4), "<f4")}),
            "factors of LoHa and LoRA",
        ),
    ],
)  # fmt: skip
def test_factors_that_do_not_fit_are_refused(change, reason, tmp_path):
    path = write(tmp_path / "a.safetensors", changed(change))
    with pytest.raises(LoraError, match=reason):
        describe(path)


def test_a_rank_above_the_limit_is_refused(tmp_path):
    tensors = {
        "x.lora_up.weight": np.ones((2, 1025), "<f4"),
        "x.lora_down.weight": np.ones((1025, 2), "<f4"),
    }
    with pytest.raises(LoraError, match="rank 1025; at most 1024"):
        describe(write(tmp_path / "a.safetensors", tensors))


def test_a_model_that_is_no_adapter_is_refused(tmp_path):
    path = write(tmp_path / "a.safetensors", {"model.weight": np.ones((2, 2), "<f4")})
    with pytest.raises(LoraError, match=r"holds no LoRA; first tensor: 'model.weight'"):
        describe(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_module_with_values_that_are_no_numbers_is_left_out_and_named(value, tmp_path):
    pairs = factors(0)
    pairs[FIRST][0][3, 1] = value
    found = describe(write(tmp_path / "a.safetensors", kohya(pairs)))
    assert len(found.compared) == 2
    assert "1 of 3 modules are left out" in found.warnings[0]
    assert "holds NaN or infinity" in found.warnings[0]


def test_zero_factors_are_called_untrained(tmp_path):
    pairs = factors(0)
    pairs[FIRST][0][:] = 0
    found = describe(write(tmp_path / "a.safetensors", kohya(pairs)))
    assert found.warnings == ("1 of 3 modules are untrained",)


def test_dora_biases_and_claims_are_told(tmp_path):
    tensors = kohya(factors(0)) | {
        f"{STEM}.dora_scale": np.ones((20, 1), "<f4"),
        f"{STEM}.diff_b": np.ones(20, "<f4"),
        "odd": np.ones(2, "<f4"),
    }
    metadata = {"ss_base_model_version": "sdxl_base_v1-0", "ss_tag_frequency": "private"}
    found = describe(write(tmp_path / "a.safetensors", tensors, metadata))
    assert found.ignored == 1
    assert found.family == "sdxl"
    assert set(found.metadata) == {"ss_base_model_version"}
    assert any(w.startswith("DoRA") for w in found.warnings)
    assert any("1 unknown tensors, such as 'odd'" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("width", "family"), [(768, "sd1"), (1024, "sd2"), (2048, "sdxl"), (999, "unknown")]
)
def test_the_base_model_is_guessed_by_the_width_of_cross_attention(width, family, tmp_path):
    layers = {"mid_block.attentions.0.transformer_blocks.0.attn2.to_k": (64, width)}
    found = describe(write(tmp_path / "a.safetensors", kohya(factors(0, 4, layers))))
    assert found.family == family
