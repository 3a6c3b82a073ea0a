"""Turned tokens: the same outputs, from channels of which none is larger than others."""

import numpy as np
import onnx
import pytest

from fakescan.export.graph import Form
from fakescan.fast.file import Graph, read_graph, wholes_of
from fakescan.fast.pattern import Finder
from fakescan.fast.rotate import rotate, rotation
from fakescan.image import normalise
from fakescan.runtime import CPU, onnxruntime, session_options
from tiny import write_tiny
from towers import KINDS, PREPROCESS, loud_model, tiny_model


def crops(count):
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)


def turned(model: bytes) -> Graph:
    graph = read_graph(model)
    rotate(graph)
    return graph


def opened(model: bytes):
    return onnxruntime().InferenceSession(model, session_options(1), providers=[CPU])


def feed(session):
    if session.get_inputs()[0].name == "image":
        return {"image": crops(1)[0]}
    return {"pixels": normalise(crops(3), PREPROCESS)}


def assert_same_outputs(model: bytes):
    before, after = opened(model), opened(turned(model).to_bytes())
    assert [o.name for o in after.get_outputs()] == [o.name for o in before.get_outputs()]
    for out, was in zip(after.run(None, feed(after)), before.run(None, feed(before)), strict=True):
        np.testing.assert_allclose(out, was, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("width", [1, 2, 32, 96])
@pytest.mark.parametrize("keeps_mean", [True, False])
def test_a_rotation_changes_no_length_and_can_keep_the_mean(width, keeps_mean):
    turn = rotation(width, keeps_mean=keeps_mean)
    np.testing.assert_allclose(turn @ turn.T, np.eye(width), atol=1e-12)
    if keeps_mean:
        np.testing.assert_allclose(np.ones(width) @ turn, np.ones(width), atol=1e-12)
    if width == 96:
        assert np.abs(turn).max() < 0.6  # every channel goes to many
    np.testing.assert_array_equal(turn, rotation(width, keeps_mean=keeps_mean))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("name", KINDS)
def test_outputs_stay_for_every_kind_of_tower(write, name, precision):
    assert_same_outputs(write(KINDS[name](), precision).read_bytes())


@pytest.mark.parametrize("site", ["mlp", "attention", "both"])
@pytest.mark.parametrize("gate", ["dense", "top1"])
def test_outputs_stay_wherever_experts_read_and_write(write, site, gate):
    assert_same_outputs(write(tiny_model(site=site, gate=gate)).read_bytes())


@pytest.mark.parametrize("head", ["levels", "final"])
@pytest.mark.parametrize(
    "options",
    [Form(opset=21, has_explanation=True), Form(has_explanation=True, has_preprocessing=True)],
)
def test_explanations_stay(write, head, options):
    assert_same_outputs(write(tiny_model(head=head), form=options).read_bytes())


def widths(graph, pick):
    """Of each channel that an in_proj reads, the spread over tokens of three images."""
    names = [pick(block).x for block in Finder(graph).blocks()]
    session = opened(graph.with_outputs(names).to_bytes())
    return [np.ptp(value, axis=(0, 1)) for value in session.run(names, feed(session))]


@pytest.mark.parametrize("pick", [lambda b: b.in_proj, lambda b: b.c_fc])
def test_no_channel_is_far_larger_than_others_any_more(write, pick):
    model = write(loud_model()).read_bytes()
    for before, after in zip(
        widths(read_graph(model), pick), widths(turned(model), pick), strict=True
    ):
        assert before.max() > 20 * np.median(before)
        assert after.max() < 5 * np.median(after)


def test_a_head_of_levels_is_turned_itself_and_costs_no_product(write):
    model = write(tiny_model(gate="dense"), "fp32").read_bytes()
    count = [
        sum(node.op_type == "MatMul" for node in onnx.load_from_string(m).graph.node)
        for m in (model, turned(model).to_bytes())
    ]
    assert count[1] == count[0] + 1  # what comes into the first block


def test_what_is_no_tower_is_refused(tmp_path):
    graph = read_graph(write_tiny(tmp_path / "tiny.onnx").read_bytes())
    with pytest.raises(ValueError, match="no transformer blocks"):
        rotate(graph)


def test_whole_numbers_of_attributes_are_read():
    made = onnx.helper.make_node("A", ["x"], ["y"], axis=-1, axes=[1, 2], name_=0.5)
    graph = onnx.helper.make_graph([made], "g", [], [])
    (node,) = read_graph(onnx.helper.make_model(graph).SerializeToString()).nodes
    assert wholes_of(node, "axis") == [-1]
    assert wholes_of(node, "axes") == [1, 2]
    assert wholes_of(node, "other") == []
