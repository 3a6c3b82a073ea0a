"""What a graph says of its logit, and what is found by covering."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fakescan.explain.explanation import explain
from fakescan.explain.occlusion import CELLS, WINDOW, occlusion
from fakescan.export.graph import build_graph
from fakescan.metadata import INPUT, KEY, OUTPUT_LOGIT, OUTPUT_PATCH
from fakescan.session import OnnxSession
from tiny import METADATA, PX
from towers import tiny_metadata, tiny_model, tiny_tower

GRID, SIDE = 4, 32


def crop(px=SIDE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (px, px, 3), np.uint8)


@pytest.fixture
def session(tmp_path):
    """Export a tiny detector with 4 x 4 patches, and load it."""

    def load(**options):
        model = tiny_model(tower=tiny_tower(image_px=SIDE), **options)
        onnx.save(build_graph(model, tiny_metadata(model)), tmp_path / "tiny.onnx")
        return OnnxSession(tmp_path / "tiny.onnx", device="cpu")

    return load


@pytest.fixture
def spot(tmp_path):
    """A detector whose logit is the mean of one patch of its pixels."""

    def write(row, column, px, *more_outputs):
        ends = [0, row * px, column * px], [3, (row + 1) * px, (column + 1) * px]
        tensors = {"starts": ends[0], "ends": ends[1], "axes": [1, 2, 3]}
        graph = helper.make_graph(
            [
                helper.make_node("Slice", [INPUT, *tensors], ["patch"]),
                helper.make_node("ReduceMean", ["patch", "axes"], [OUTPUT_LOGIT], keepdims=0),
                *(node for node, _ in more_outputs),
            ],
            "spot",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["B", 3, PX, PX])],
            [
                helper.make_tensor_value_info(OUTPUT_LOGIT, TensorProto.FLOAT, ["B"]),
                *(info for _, info in more_outputs),
            ],
            [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in tensors.items()],
        )
        opset = helper.make_opsetid("", 18)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        helper.set_model_props(model, {KEY: METADATA.to_json()})
        onnx.save(model, tmp_path / "spot.onnx")
        return OnnxSession(tmp_path / "spot.onnx", device="cpu")

    return write


def test_patches_are_the_graphs_own_row_by_row(session):
    detector = session()
    found = explain(detector, crop()[None])
    assert (found.method, found.patches.shape) == ("graph", (GRID, GRID))
    np.testing.assert_array_equal(found.patches.ravel(), detector.details(crop()).patch_logit)
    assert found.patches.sum() == pytest.approx(
        float(detector.details(crop()).patch_logit.sum()), abs=1e-6
    )


def test_explaining_does_not_change_the_logit(session):
    detector = session()
    before = detector.logits(crop()[None])
    explain(detector, crop()[None])
    assert detector.logits(crop()[None]) == before


def test_the_middle_square_is_explained_and_the_others_are_counted(session):
    detector = session()
    squares = np.stack([crop(seed=seed) for seed in (0, 1, 2)])
    found = explain(detector, squares)
    alone = explain(detector, squares[:1])
    assert (found.squares, alone.squares) == (3, 1)
    assert found.logit == alone.logit == pytest.approx(float(detector.logits(squares)[0]), abs=1e-6)
    np.testing.assert_array_equal(found.patches, alone.patches)


@pytest.mark.parametrize("width", [None, 5])
def test_shares_are_those_of_the_tokens_that_the_routers_sent(session, width):
    detector = session(router_width=width)
    logits = detector.details(crop()).router_logits  # (routers, N, W)
    best = logits.argmax(-1)
    routings = explain(detector, crop()[None]).routings
    assert [r.name for r in routings] == ["block 1", "block 2"]
    for routing, columns in zip(routings, best, strict=True):
        counts = [int((columns == j).sum()) for j in range(width or 3)]
        assert sum(counts) == GRID**2 + 1
        assert routing.shares == pytest.approx([n / (GRID**2 + 1) for n in counts])
        assert sum(routing.shares) == pytest.approx(1)
        np.testing.assert_array_equal(routing.chosen.ravel(), columns[1:])
    names = ("rank 4", "rank 8", "rank 16")
    assert routings[0].experts == (names if width is None else (*names, "none", "none"))


def test_of_a_dense_gate_shares_are_mean_probabilities(session):
    detector = session(gate="dense")
    logits = detector.details(crop()).router_logits.astype(float)
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)  # (routers, N, W)
    found = explain(detector, crop()[None])
    assert found.is_dense
    for routing, expected in zip(found.routings, chances.mean(axis=1), strict=True):
        assert routing.shares == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("site", "names"),
    [
        ("attention", ["block 2 q", "block 2 k", "block 2 v", "block 2 out"]),
        ("both", ["block 2 q", "block 2 k", "block 2 v", "block 2 out", "block 2 mlp"]),
    ],
)
def test_routers_are_named_by_block_and_site(session, site, names):
    routings = explain(session(site=site, blocks=(2,)), crop()[None]).routings
    assert [r.name for r in routings] == names


def test_without_routed_experts_there_is_no_routing(session):
    assert explain(session(experts="shared"), crop()[None]).routings == ()


def test_a_detector_that_names_no_patches_is_explained_by_covering(session):
    found = explain(session(head="final"), crop()[None])
    assert (found.method, found.patches.shape) == ("occlusion", (CELLS, CELLS))
    assert len(found.routings) == 2


@pytest.mark.parametrize("shape", [["B"], ["B", 3]])
def test_an_output_of_another_shape_is_no_patch_map(spot, shape):
    axes = {"axes": [1, 2, 3]} if shape == ["B"] else {"axes": [2, 3]}
    name = "more_axes"
    constant = helper.make_node(
        "Constant", [], [name], value=numpy_helper.from_array(np.array(axes["axes"], np.int64))
    )
    mean = helper.make_node("ReduceMean", [INPUT, name], [OUTPUT_PATCH], keepdims=0)
    info = helper.make_tensor_value_info(OUTPUT_PATCH, TensorProto.FLOAT, shape)
    nothing = helper.make_tensor_value_info(name, TensorProto.INT64, [len(axes["axes"])])
    detector = spot(0, 0, 8, (constant, nothing), (mean, info))
    assert explain(detector, crop(PX)[None]).method == "occlusion"


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 2), (3, 3), (2, 0)])
def test_covering_finds_the_only_patch_that_counts(spot, row, column):
    grey = np.full((PX, PX, 3), 100, np.uint8)
    grey[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 250
    detector = spot(row, column, 4)
    values = occlusion(detector, grey)
    edges = np.linspace(0, PX, CELLS + 1)
    middle = (edges[:-1] + edges[1:]) / 2  # of each cell, in pixels
    top = np.unravel_index(values.argmax(), values.shape)
    assert abs(middle[top[0]] - (4 * row + 2)) <= 2.5
    assert abs(middle[top[1]] - (4 * column + 2)) <= 2.5
    far = np.abs(middle - (4 * row + 2)) > (WINDOW + 1) * PX / CELLS + 2
    assert far.any()
    np.testing.assert_allclose(values[far], 0, atol=1e-6)


def test_what_speaks_for_real_is_negative(spot):
    grey = np.full((PX, PX, 3), 200, np.uint8)
    grey[4:8, 8:12] = 10
    values = occlusion(spot(1, 2, 4), grey)
    assert values.min() < -0.01
    assert values.max() == pytest.approx(0, abs=1e-6)


def test_covering_leaves_the_crop_as_it_is(spot):
    pixels = crop(PX)
    before = pixels.copy()
    occlusion(spot(0, 0, 4), pixels)
    np.testing.assert_array_equal(pixels, before)


def test_a_crop_of_few_pixels_has_as_few_cells():
    class Mean:
        def logits(self, crops):
            return crops.mean(axis=(1, 2, 3)).astype(np.float32)

    assert occlusion(Mean(), crop(3)).shape == (3, 3)
