"""Files that take an image, that explain themselves, or are written for newer runtimes."""

from typing import get_args

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from fakescan.errors import ConfigError
from fakescan.explain.explanation import explain
from fakescan.export.graph import Form, build_graph
from fakescan.image import Preprocess, views
from fakescan.metadata import Precision
from fakescan.model.builtin import load_exported
from fakescan.records import mean_logits
from fakescan.session import OnnxSession
from towers import tiny_metadata, tiny_model, tiny_pixels, tiny_tower

IMAGES = Form(has_preprocessing=True)
EXPLAINED = Form(has_explanation=True)


def photo(width, height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def session(tmp_path):
    def load(model, form, **changes):
        path = tmp_path / "d.onnx"
        onnx.save(build_graph(model, tiny_metadata(model, **changes), form), path)
        return OnnxSession(path, device="cpu")

    return load


@pytest.mark.parametrize("size", [(16, 16), (90, 70), (9, 40), (40, 9)], ids=str)
@pytest.mark.parametrize("geometry", ["crop", "resize", "pad"])
@pytest.mark.parametrize("crops", [1, 3])
def test_an_image_gets_the_logit_that_a_scan_gives_it(run_graph, session, size, geometry, crops):
    model = tiny_model(gate="dense")
    preprocess = Preprocess(image_px=16, geometry=geometry, crops=crops)
    scanned = session(model, None, preprocess=preprocess)
    expected = mean_logits(scanned, [views(photo(*size), preprocess)])
    outputs = run_graph(model, photo(*size), "fp32", IMAGES, preprocess=preprocess)
    assert outputs["logit"].shape == (1,)
    is_native = geometry == "pad" or (geometry == "crop" and min(size) >= 16)
    atol = 1e-4 if is_native else 2e-2  # some pixels differ by a grey level
    np.testing.assert_allclose(outputs["logit"], expected, atol=atol)


def test_a_file_that_takes_images_scans_as_others_do(session):
    crops = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), np.uint8)
    model = tiny_model()
    expected = session(model, None).logits(crops)
    found = session(model, IMAGES)
    np.testing.assert_allclose(found.logits(crops), expected, atol=1e-5)
    assert found.details(crops[0]).patch_logit.shape == (4,)


@pytest.mark.parametrize("head", ["levels", "final"])
@pytest.mark.parametrize("pool", ["class", "mean"])
@pytest.mark.parametrize("pools_first", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_patches_and_the_remainder_make_the_logit(run_graph, head, pool, pools_first, precision):
    tower = tiny_tower(pool=pool, pools_first=pools_first, has_layer_scale=True)
    model = tiny_model(head=head, tower=tower, site="both")
    outputs = run_graph(model, tiny_pixels(), precision, EXPLAINED)
    total = outputs["patch_logit"].sum(axis=1) + outputs["remainder_logit"]
    assert outputs["patch_logit"].shape == (3, 4)
    np.testing.assert_allclose(total, outputs["logit"], atol=1e-4)
    assert (outputs["chosen_expert"] == outputs["router_logits"].argmax(-1)).all()


def test_the_remainder_of_levels_is_what_class_tokens_and_the_bias_add(run_graph):
    model, pixels = tiny_model(), tiny_pixels()
    weight, bias = model.head.folded()
    features = weight.reshape(2, 2, -1)  # level, class or patches, D
    expected = bias.expand(3)
    with torch.no_grad():
        tokens = model.tower.embed(pixels)
        for number in (1, 2):
            tokens = model._run(number, tokens, [])
            expected = expected + tokens[:, 0] @ features[number - 1, 0]
    found = run_graph(model, pixels, "fp32", EXPLAINED)["remainder_logit"]
    np.testing.assert_allclose(found, expected.detach(), atol=1e-4)


@pytest.mark.parametrize("has_layer_scale", [True, False])
def test_a_patch_adds_what_the_class_token_takes_from_it(run_graph, has_layer_scale):
    """By hand: the last block's attention to one patch, through the norm as it stands."""
    tower = tiny_tower(has_layer_scale=has_layer_scale)
    model, pixels = tiny_model(head="final", tower=tower, blocks=()), tiny_pixels()
    block = model.tower.blocks[-1]
    with torch.no_grad():
        before = model.tower.blocks[0](model.tower.embed(pixels))
        tokens = block(before)[:, 0]  # (B, D), after the last block
        attn, normed = block.attn, block.ln_1(before)
        q, k, v = (normed @ attn.in_proj_weight.T + attn.in_proj_bias).chunk(3, dim=-1)
        q, k, v = (t.unflatten(-1, (2, 16)).transpose(1, 2) for t in (q, k, v))
        weights = (q[:, :, 0:1] @ k.transpose(-1, -2) / 4).softmax(dim=-1)  # (B, H, 1, N)
        taken = (weights.transpose(-1, -2) * v).transpose(1, 2).flatten(2)  # (B, N, D)
        taken = taken @ attn.out_proj.weight.T
        if has_layer_scale:
            taken = taken * block.ls_1.gamma
        deviation = (tokens.var(dim=-1, unbiased=False) + 1e-5).sqrt()[:, None, None]
        centred = (taken - taken.mean(dim=-1, keepdim=True)) / deviation
        weight, _ = model.head.folded()
        expected = (centred * model.tower.ln_post.weight) @ model.tower.proj @ weight
    found = run_graph(model, pixels, "fp32", EXPLAINED)["patch_logit"]
    np.testing.assert_allclose(found, expected[:, 1:], atol=1e-4)
    assert np.abs(found).max() > 1e-2


def test_explanations_take_the_graphs_own_shares_instead_of_covering_parts(session):
    crops = np.random.default_rng(1).integers(0, 256, (1, 16, 16, 3), np.uint8)
    model = tiny_model(head="final")
    assert explain(session(model, None), crops).method == "occlusion"
    explanation = explain(session(model, EXPLAINED), crops)
    assert explanation.method == "graph"
    assert explanation.patches.shape == (2, 2)


def test_an_image_of_several_squares_is_explained_square_by_square(run_graph):
    form = Form(has_preprocessing=True, has_explanation=True)
    preprocess = Preprocess(image_px=16, crops=3)
    outputs = run_graph(tiny_model(), photo(90, 70), "fp32", form, preprocess=preprocess)
    assert outputs["patch_logit"].shape == (3, 4)
    total = outputs["patch_logit"].sum(axis=1) + outputs["remainder_logit"]  # (K,)
    np.testing.assert_allclose(total.mean(), outputs["logit"][0], atol=1e-4)


@pytest.mark.parametrize("opset", [17, 18, 19, 20, 21])
@pytest.mark.parametrize("head", ["levels", "final"])
def test_every_opset_gives_the_same_outputs(run_graph, opset, head):
    model, pixels = tiny_model(head=head, site="both"), tiny_pixels()
    expected = run_graph(model, pixels, "fp32", EXPLAINED)
    found = run_graph(model, pixels, "fp32", Form(opset=opset, has_explanation=True))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)
    proto = build_graph(model, tiny_metadata(model), Form(opset=opset))
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", opset)]


@pytest.mark.parametrize("opset", [16, 22])
def test_an_opset_that_is_not_tested_is_refused(opset):
    with pytest.raises(ConfigError, match=f"opset: {opset}; can be 17 to 21"):
        Form(opset=opset)


def test_the_torch_model_comes_back_from_a_file_that_takes_images(tmp_path):
    model = tiny_model()
    form = Form(has_preprocessing=True, has_explanation=True)
    onnx.save(build_graph(model, tiny_metadata(model), form), tmp_path / "d.onnx")
    again, _ = load_exported(tmp_path / "d.onnx")
    assert again.tower.sha256() == model.tower.sha256()


@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("geometry", ["crop", "resize", "pad"])
@pytest.mark.parametrize("head", ["levels", "final"])
def test_no_tensor_in_a_file_is_of_no_use(precision, geometry, head):
    """Runtimes warn of initializers that no node reads."""
    model, form = tiny_model(head=head), Form(has_preprocessing=True, has_explanation=True)
    preprocess = Preprocess(image_px=16, geometry=geometry, crops=3)
    graph = build_graph(model, tiny_metadata(model, precision, preprocess=preprocess), form).graph
    read = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} - read == set()
