"""The ONNX graph against torch, on tiny detectors of every kind."""

from typing import get_args

import numpy as np
import onnx
import pytest
import torch

from fakescan.export.graph import build_graph
from fakescan.metadata import KEY, Precision, from_json
from towers import tiny_metadata, tiny_model, tiny_pixels, tiny_tower

NEAR_TIE = 1e-3


def assert_same(model, outputs, pixels, atol=1e-4):
    with torch.no_grad():
        expected = model(pixels)
    np.testing.assert_allclose(outputs["logit"], expected.logit, atol=atol, rtol=1e-4)
    if expected.router_logits:
        routers = torch.stack(expected.router_logits, dim=1)
        np.testing.assert_allclose(outputs["router_logits"], routers, atol=atol, rtol=1e-4)
    else:
        assert "router_logits" not in outputs


@pytest.mark.parametrize("site", ["mlp", "attention", "both"])
@pytest.mark.parametrize("head", ["final", "levels"])
@pytest.mark.parametrize("gate", ["top1", "dense"])
def test_sites_heads_and_gates(run_graph, site, head, gate):
    model = tiny_model(head=head, site=site, gate=gate)
    assert_same(model, run_graph(model, tiny_pixels()), tiny_pixels())


@pytest.mark.parametrize(
    "mole",
    [
        {"experts": "shared"},
        {"experts": "separate"},
        {"experts": "shared", "alpha": 4.0},
        {"alpha": 4.0},
        {"router_width": 5},
        {"separate_ranks": (3,)},
        {"separate_ranks": (1, 2, 3, 4), "experts": "separate", "router_width": 6},
        {"blocks": (1,)},
        {"blocks": ()},
    ],
    ids=str,
)
def test_mixtures(run_graph, mole):
    model = tiny_model(**mole)
    assert_same(model, run_graph(model, tiny_pixels()), tiny_pixels())


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "gelu"},
        {"activation": "gelu_tanh"},
        {"has_layer_scale": True},
        {"has_ln_pre": False},
        {"norm_eps": 1e-3},
        {"pool": "mean"},
        {"pool": "mean", "pools_first": False},
        {"image_px": 24, "patch_px": 6, "blocks": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("head", ["final", "levels"])
def test_towers(run_graph, changes, head):
    model = tiny_model(head=head, tower=tiny_tower(**changes), site="both")
    pixels = tiny_pixels(px=model.tower.config.image_px)
    assert_same(model, run_graph(model, pixels), pixels)


@pytest.mark.parametrize("images", [1, 2, 5])
@pytest.mark.parametrize("precision", get_args(Precision))
def test_any_batch_size_gives_the_same_logits(run_graph, images, precision):
    model, pixels = tiny_model(), tiny_pixels(5)
    whole = run_graph(model, pixels, precision)
    part = run_graph(model, pixels[:images], precision)
    assert part["logit"].shape == (images,)
    np.testing.assert_allclose(part["logit"], whole["logit"][:images], atol=1e-5)


def test_patch_logits_class_part_and_bias_make_the_logit(run_graph):
    model, pixels = tiny_model(), tiny_pixels()
    outputs = run_graph(model, pixels)
    weight, bias = model.head.folded()
    levels, features = [], weight.reshape(2, 2, -1)  # level, class or patches, D
    with torch.no_grad():
        tokens = model.tower.embed(pixels)
        for number in (1, 2):
            tokens = model._run(number, tokens, [])
            levels.append(tokens[:, 0] @ features[number - 1, 0])
    total = outputs["patch_logit"].sum(axis=1) + sum(levels).numpy() + bias.item()
    assert outputs["patch_logit"].shape == (3, 4)
    np.testing.assert_allclose(total, outputs["logit"], atol=1e-4)


def test_a_final_head_has_no_patch_logits(run_graph):
    assert "patch_logit" not in run_graph(tiny_model(head="final"), tiny_pixels())


@pytest.mark.parametrize("site", ["mlp", "both"])
def test_routing_survives_the_export(run_graph, site):
    model, pixels = tiny_model(site=site), tiny_pixels(8)
    chosen = run_graph(model, pixels)["router_logits"].argmax(-1)  # (B, routers, N)
    with torch.no_grad():
        logits = torch.stack(model(pixels).router_logits, dim=1)  # (B, routers, N, W)
    best = logits.sort(dim=-1).values
    is_clear = (best[..., -1] - best[..., -2] > NEAR_TIE).numpy()
    assert is_clear.mean() > 0.9
    assert (chosen == logits.argmax(-1).numpy())[is_clear].all()
    experts = [set(tokens) for image in chosen for tokens in image]
    assert any(len(found) > 1 for found in experts), "no two tokens take different experts"


def test_the_chosen_expert_is_what_moves_the_logit(run_graph):
    """Zeroing one expert changes the images whose tokens it serves, and no others."""
    model = tiny_model(blocks=(2,), experts="separate", router_width=9)
    pixels = tiny_pixels(8)
    before = run_graph(model, pixels)
    serves = (before["router_logits"].argmax(-1) == 1).any(axis=(1, 2))
    with torch.no_grad():
        model.experts["2"]["mlp"].lora_B[:, 4:12] = 0  # the second of ranks 4, 8, 16
    moved = np.abs(run_graph(model, pixels)["logit"] - before["logit"]) > 1e-6
    assert 0 < serves.sum() < len(serves)
    np.testing.assert_array_equal(moved, serves)


@pytest.mark.parametrize("precision", ["fp16", "int8", "int8-dynamic", "int8-static"])
@pytest.mark.parametrize("settings", [{}, {"head": "final", "site": "both"}], ids=str)
def test_smaller_precisions_stay_close(run_graph, precision, settings):
    model, pixels = tiny_model(gate="dense", **settings), tiny_pixels(8)
    with torch.no_grad():
        expected = model(pixels).logit.numpy()
    found = run_graph(model, pixels, precision)["logit"]
    limit = 0.25 if precision in ("int8-dynamic", "int8-static") else 0.1
    assert np.abs(found - expected).max() < limit * expected.std()


def test_the_file_keeps_open_clips_names_and_nothing_outside():
    model = tiny_model()
    proto = build_graph(model, tiny_metadata(model, "int8"))
    tensors = {t.name: t for t in proto.graph.initializer}
    tower = {name for name in model.tower.state_dict() if not name.startswith(("ln_post", "proj"))}
    assert tower <= tensors.keys()
    assert "experts.2.mlp.lora_A" in tensors
    assert tensors["transformer.resblocks.0.mlp.c_fc.weight"].data_type == onnx.TensorProto.INT8
    assert tensors["experts.2.mlp.lora_A"].data_type == onnx.TensorProto.FLOAT
    assert not any(t.external_data for t in proto.graph.initializer)


def test_old_runtimes_can_read_the_file():
    model = tiny_model()
    proto = build_graph(model, tiny_metadata(model))
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 17)]
    assert proto.ir_version <= 8


def test_the_metadata_is_inside():
    model = tiny_model()
    metadata = tiny_metadata(model)
    proto = build_graph(model, metadata)
    texts = {p.key: p.value for p in proto.metadata_props}
    assert from_json(texts[KEY], "file").to_json() == metadata.to_json()
    assert proto.producer_name == "fakescan"
