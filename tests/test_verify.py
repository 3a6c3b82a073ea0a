"""`fakescan verify`: files that are right, and what is said of those that are not."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fakescan import weights
from fakescan.cli import main
from fakescan.errors import WeightsError
from fakescan.export import Form, export_detector
from fakescan.export.squares import SquareWriter
from fakescan.image import Preprocess
from fakescan.protobuf import replace_property
from fakescan.specimens import KEY, from_json
from fakescan.verify import verify
from tiny import write_tiny
from towers import tiny_metadata, tiny_model

IMAGES = Form(has_preprocessing=True)


def exported(path, precision="fp32", form=None, **changes):
    model = tiny_model(gate="dense")
    export_detector(model, tiny_metadata(model, precision, **changes), path, form=form)
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("good") / "good.onnx")


@pytest.fixture(scope="module")
def taking_images(tmp_path_factory):
    preprocess = Preprocess(image_px=16, geometry="resize", crops=3)
    path = tmp_path_factory.mktemp("images") / "images.onnx"
    return exported(path, form=IMAGES, preprocess=preprocess)


def test_a_good_file_passes_every_step(good, capsys):
    assert main(["verify", str(good)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "sha256", "ONNX", "metadata", "graph", "runs", "specimens",
    ]  # fmt: skip
    assert "as recorded" in lines[3]
    assert "3 logits as at the export" in lines[-1]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8", "int8-dynamic", "int8-static"])
def test_every_precision_passes(tmp_path, precision):
    assert list(verify(exported(tmp_path / "d.onnx", precision)))[-1].startswith("specimens: 3")


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("geometry", ["crop", "resize", "pad"])
def test_a_file_that_takes_images_resamples_as_pillow_in_both_runtimes(tmp_path, runtime, geometry):
    preprocess = Preprocess(image_px=16, geometry=geometry, crops=3)
    path = exported(tmp_path / "d.onnx", form=IMAGES, preprocess=preprocess)
    steps = list(verify(path, runtime))
    assert any(step.startswith("resampling: as Pillow's") for step in steps)
    assert steps[-1].startswith("specimens: 3")


def with_onnx_resize(self, planes, rows, columns, weights):
    """ONNX's own antialiased bicubic, on float32: what an exporter would reach for first."""
    n = self.nodes
    batch = n.op("Unsqueeze", planes, n.shape(0))
    ends = [n.op("Unsqueeze", axis.fitted, n.shape(0)) for axis in (rows, columns)]
    sizes = n.op("Concat", n.shape(1, 3), *ends, axis=0)
    made = n.op(
        "Resize", batch, "", "", sizes, mode="cubic", antialias=1, cubic_coeff_a=-0.5,
        exclude_outside=1,
    )  # fmt: skip
    made = n.op("Squeeze", made, n.shape(0))
    return n.op("Slice", made, n.shape(0, 0), n.shape(16, 16), n.shape(1, 2))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_runtime_that_antialiases_wrongly_is_found_out(tmp_path, monkeypatch, runtime):
    monkeypatch.setattr(SquareWriter, "_resampled", with_onnx_resize)
    form = Form(has_preprocessing=True, opset=18)
    preprocess = Preprocess(image_px=16, geometry="resize")
    path = exported(tmp_path / "d.onnx", form=form, preprocess=preprocess)
    with pytest.raises(WeightsError, match=f"{runtime} resamples it wrongly: pixels differ"):
        list(verify(path, runtime))


def test_the_shipped_detector_passes(capsys):
    path = weights.resolve(None, offline=True)
    expected = weights.registry().entries[weights.registry().default].sha256
    assert main(["verify", str(path), "--sha256", expected]) == 0


def test_another_sha256_is_refused(good, capsys):
    assert main(["verify", str(good), "--sha256", "0" * 64]) == 3
    assert "its sha256 is" in capsys.readouterr().err


def test_a_changed_graph_is_told_apart_from_changed_metadata(good, tmp_path):
    text = {p.key: p.value for p in onnx.load(good).metadata_props}["fakescan"]
    renamed = json.dumps({**json.loads(text), "name": "calibrated"})
    path = tmp_path / "d.onnx"
    path.write_bytes(replace_property(good.read_bytes(), "fakescan", renamed))
    assert "metadata: calibrated" in list(verify(path))[2]
    proto = onnx.load(good)
    (bias,) = [t for t in proto.graph.initializer if t.name == "head.bias"]
    bias.raw_data = (numpy_helper.to_array(bias) + np.float32(1)).tobytes()
    onnx.save(proto, path)
    with pytest.raises(WeightsError, match="its graph is not the one that was exported"):
        list(verify(path))


def test_a_file_that_computes_something_else_is_refused(good, tmp_path):
    found = {p.key: p.value for p in onnx.load(good).metadata_props}[KEY]
    values = json.loads(found)
    values["images"][1]["logit"] += 0.01
    path = tmp_path / "d.onnx"
    path.write_bytes(replace_property(good.read_bytes(), KEY, json.dumps(values)))
    with pytest.raises(WeightsError, match=r"specimen real-coffee: .*at most 0\.001"):
        list(verify(path))


def test_specimens_carry_the_logit_of_torch(good):
    text = {p.key: p.value for p in onnx.load(good).metadata_props}[KEY]
    specimens = from_json(text, "good")
    assert [s.pixels().shape for s in specimens] == [(256, 256, 3), (256, 256, 3), (7, 11, 3)]
    assert all(abs(s.torch_logit - s.logit) < 1e-3 for s in specimens)
    assert len({round(s.logit, 3) for s in specimens}) == 3


def foreign(path):
    node = helper.make_node("Own", ["pixels"], ["logit"], domain="com.example")
    return saved(path, [node], [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)])


def invalid(path):
    return saved(path, [helper.make_node("NoSuchOperator", ["pixels"], ["logit"])])


def external(path):
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return saved(path, [helper.make_node("Constant", [], ["logit"], value=tensor)])


def saved(path, nodes, opsets=None):
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["B", 3, 16, 16])
    logit = helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["B"])
    graph = helper.make_graph(nodes, "g", [pixels], [logit])
    opsets = opsets or [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: path, "cannot be read"),
        (lambda path: path.write_bytes(b""), "not an ONNX file"),
        (lambda path: path.write_bytes(b"\x89PNG" * 99), "not an ONNX file"),
        (lambda path: path.write_bytes(bytes(range(256)) * 9), "not an ONNX file"),
        (foreign, "operators of com.example, not ONNX's own"),
        (invalid, "not valid ONNX"),
        (external, "it keeps tensors in a second file"),
        (lambda path: write_tiny(path, metadata=None), "without fakescan metadata"),
        (lambda path: write_tiny(path, metadata="{}"), "metadata cannot be read"),
        (write_tiny, r"its metadata lack backbone\.sha256"),
    ],
)
def test_files_that_are_wrong_are_one_clear_line(tmp_path, capsys, write, reason):
    path = tmp_path / "m.onnx"
    write(path)
    assert main(["verify", str(path)]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fakescan: {path}: ")
    assert reason.replace("\\", "") in line


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_damaged_file_is_one_clear_line(good, tmp_path, capsys, share):
    content = good.read_bytes()
    for name, damaged in (
        ("cut", content[: int(share * len(content))]),
        ("holed", b"".join((content[: int(share * len(content))], b"\xff" * 40, content[-9:]))),
    ):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(damaged)
        assert main(["verify", str(path)]) == 3
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"version": 1}', '{"version": 1, "images": []}', '{"version": 2, "images": []}',
     '{"version": 1, "images": [{"name": "a", "png": "AAAA", "torch_logit": 0, "logit": 0}]}',
     '{"version": 1, "images": [{"name": "a", "png": "%", "torch_logit": 0, "logit": 0}]}'],
)  # fmt: skip
def test_specimens_that_make_no_sense_are_one_clear_line(text):
    with pytest.raises(WeightsError, match=r"^file: "):
        from_json(text, "file")
