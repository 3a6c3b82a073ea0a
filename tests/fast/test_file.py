"""A file read and written again; the package onnx reads what comes out."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fakescan.fast.file import read_graph
from tiny import write_tiny


def test_a_file_comes_back_with_every_node_tensor_and_text(write):
    path = write()
    before, after = onnx.load(path), onnx.load_from_string(read_graph(path.read_bytes()).to_bytes())
    onnx.checker.check_model(after, full_check=True)
    assert list(after.graph.node) == list(before.graph.node)
    assert list(after.graph.initializer) == list(before.graph.initializer)
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    assert list(after.metadata_props) == list(before.metadata_props)
    assert after.opset_import == before.opset_import


@pytest.mark.parametrize("kind", [np.float32, np.int8, np.uint8, np.int64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3, 4)])
def test_tensors_of_every_type_and_shape_go_in_and_out(tmp_path, kind, shape):
    graph = read_graph(write_tiny(tmp_path / "tiny.onnx").read_bytes())
    value = (np.arange(np.prod(shape, dtype=int)) - (0 if kind is np.uint8 else 5)).astype(kind)
    value = value.reshape(shape)
    graph.put("axes", value)
    np.testing.assert_array_equal(graph.array("axes"), value)
    (tensor,) = onnx.load_from_string(graph.to_bytes()).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), value)


def test_what_nothing_reads_is_dropped_and_the_rest_brought_into_order(write):
    path = write()
    graph = read_graph(path.read_bytes())
    count = len(graph.nodes)
    graph.nodes.reverse()
    graph.put("unused", np.zeros(3, np.float32))
    graph.prune()
    assert len(graph.nodes) == count
    assert "unused" not in graph.tensors
    onnx.checker.check_model(onnx.load_from_string(graph.to_bytes()), full_check=True)


@pytest.mark.parametrize("data", [b"\x07\x01", b"\x0b", bytes(range(200, 256))])
def test_what_is_no_such_file_is_refused(data):
    with pytest.raises(ValueError, match="no protobuf message"):
        read_graph(data)
