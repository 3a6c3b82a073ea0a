"""Files that take a whole image: what their graph sees is what `fakescan.image` cuts."""

from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image

from fakescan.export.nodes import Nodes
from fakescan.export.precision import Storage
from fakescan.export.squares import SquareWriter
from fakescan.image import Preprocess, normalise, views

PX = 16
SIZES = [
    (16, 16), (17, 16), (40, 30), (33, 64), (1, 1), (1, 300), (300, 2), (15, 15), (5, 11),
    (9, 200), (16, 15), (123, 457), (700, 48),
]  # fmt: skip


def reader(preprocess, opset=17):
    """The first part of a graph alone: image -> squares."""
    nodes = Nodes({}, Storage("fp32"), opset)
    nodes.rename(SquareWriter(nodes, preprocess).write(), "pixels")
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["H", "W", 3])
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["K", 3, None, None])
    graph = helper.make_graph(
        nodes.nodes, "squares", [image], [pixels], [*nodes.initializers.values()]
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets)
    )
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


cached_reader = cache(reader)


def photo(width, height, seed=0):
    """Noise over stripes: ringing, clipping and fine detail, so that wrong weights show."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pixels[(np.arange(height) // 5) % 2 == 0] |= 192
    return Image.fromarray(pixels)


def grey_levels(pixels, preprocess):
    """(K, 3, S, S) normalised -> (K, S, S, 3) in 0 to 255."""
    std, mean = (np.reshape(v, (3, 1, 1)) for v in (preprocess.std, preprocess.mean))
    return ((pixels * std + mean) * 255).transpose(0, 2, 3, 1)


def furthest(session, image, preprocess):
    """Largest difference of a grey level from what `views` cuts."""
    (pixels,) = session.run(["pixels"], {"image": np.asarray(image)})
    expected = views(image, preprocess)
    found = grey_levels(pixels, preprocess)
    assert found.shape == expected.shape
    return np.abs(found - expected).max()


@pytest.mark.parametrize("geometry", ["crop", "resize", "pad"])
@pytest.mark.parametrize("crops", [1, 3, 5])
def test_squares_are_those_of_python_within_a_grey_level(geometry, crops):
    preprocess = Preprocess(image_px=PX, geometry=geometry, crops=crops)
    session = reader(preprocess)
    for width, height in SIZES:
        assert furthest(session, photo(width, height), preprocess) < 1.01, (width, height)


@pytest.mark.parametrize("px", [224, 336])
def test_real_sizes_agree_nearly_everywhere(px):
    preprocess = Preprocess(image_px=px, geometry="resize", crops=3)
    session = reader(preprocess)
    for width, height in [(1024, 683), (150, 97), (500, 375), (2000, 240)]:
        image = photo(width, height)
        (pixels,) = session.run(["pixels"], {"image": np.asarray(image)})
        expected = views(image, preprocess)
        away = np.abs(grey_levels(pixels, preprocess) - expected)
        assert away.max() < 1.01
        assert (away > 0.5).mean() < 1e-3  # only ties of rounding


def test_pixels_that_need_no_scaling_come_through_bit_by_bit():
    preprocess = Preprocess(image_px=PX, crops=5)
    image = photo(90, 70)
    (pixels,) = reader(preprocess).run(["pixels"], {"image": np.asarray(image)})
    assert np.array_equal(pixels, normalise(views(image, preprocess), preprocess))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["crop", "resize", "pad"]))
def test_any_size_gives_the_same_squares(width, height, geometry):
    preprocess = Preprocess(image_px=7, geometry=geometry, crops=5)
    assert furthest(cached_reader(preprocess), photo(width, height), preprocess) < 1.01


@pytest.mark.parametrize("opset", [17, 18, 19, 20, 21])
def test_every_opset_gives_the_same_squares(opset):
    preprocess = Preprocess(image_px=PX, geometry="resize", crops=3)
    assert furthest(reader(preprocess, opset), photo(50, 37), preprocess) < 1.01
