"""`fakescan scan --attribute`: reports name generators, with probability and all known."""

import csv
import io
import json
import shutil
import subprocess
import sys

import jsonschema
import onnx
import pytest
from PIL import Image

from attributors import DESIGN, SETTINGS, TINTS, Quiet, task, write_picture
from fakescan.attribute.book import Machine
from fakescan.attribute.export import export
from fakescan.attribute.learn import learn
from fakescan.attribute.store import init, open_bundle
from fakescan.cli import main
from fakescan.export.graph import build_graph
from fakescan.model.backbone import BackboneConfig
from towers import tiny_metadata, tiny_model, tiny_tower


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for number, kind in enumerate(TINTS):
        for i in range(16):
            write_picture(root / "train" / kind / f"{i}.png", kind, 1000 * number + i)
    return root


@pytest.fixture(scope="module")
def attr(tmp_path_factory, pictures):
    """An exported attributor that knows two generators."""
    root = tmp_path_factory.mktemp("attr")
    model = tiny_model(tower=tiny_tower(blocks=3, has_projection=False), blocks=())
    onnx.save(build_graph(model, tiny_metadata(model)), root / "tiny.onnx")
    init(root / "known", BackboneConfig(weights=root / "tiny.onnx"), DESIGN)
    for name, kinds, real in (("first", ("blue",), True), ("second", ("red",), False)):
        new = task(pictures, name, *kinds, real=real)
        learn(root / "known", new, SETTINGS, Machine(workers=0), Quiet())
    export(open_bundle(root / "known"), root / "known" / "attributor.onnx")
    return root / "known"


@pytest.fixture
def scan(tiny, capsys):
    def scan(*words):
        code = main(["scan", "--no-config", "--model", str(tiny), "-q", *map(str, words)])
        return code, capsys.readouterr()

    return scan


def bright(folder):
    """Bright blue pictures, which the tiny detector calls fake, and a dark one, which is real."""
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (40, 36), (150 + 10 * i, 150, 255)).save(folder / f"bright{i}.png")
    Image.new("RGB", (40, 36), "black").save(folder / "dark.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return folder


def test_csv_and_json_name_what_is_not_real(scan, attr, tmp_path):
    images = bright(tmp_path / "images")
    code, said = scan(images, "--attribute", attr, "--format", "csv", "-o", tmp_path / "r.json")
    assert code == 0
    rows = {r["path"].rsplit("/")[-1]: r for r in csv.DictReader(io.StringIO(said.out))}
    assert {r["known_generators"] for n, r in rows.items() if n != "broken.png"} == {"blue; red"}
    assert rows["dark.png"]["verdict"] == "real"
    assert rows["dark.png"]["generator"] == rows["dark.png"]["generator_score"] == ""
    assert rows["bright0.png"]["generator"] in ("blue", "red", "unknown")
    assert 0 < float(rows["bright0.png"]["generator_score"]) <= 1
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["settings"]["attribute"] == str(attr)
    (found,) = [f for f in report["findings"] if f["path"].endswith("bright0.png")]
    assert found["known_generators"] == ["blue", "red"]
    assert found["generator"] == rows["bright0.png"]["generator"]


def test_the_report_keeps_its_schema(scan, attr, tmp_path, request):
    schema = json.loads((request.config.rootpath / "docs/reference/report.schema.json").read_text())
    scan(bright(tmp_path / "images"), "--attribute", attr, "-o", tmp_path / "r.json")
    jsonschema.validate(json.loads((tmp_path / "r.json").read_text()), schema)


def test_every_other_format_says_it_too(scan, attr, tmp_path):
    images = bright(tmp_path / "images")
    files = [tmp_path / f"r.{suffix}" for suffix in ("jsonl", "sarif", "xml", "html")]
    outputs = [word for path in files for word in ("-o", path)]
    code, said = scan(images, "--attribute", attr, "--format", "table", *outputs)
    assert code == 0
    assert "  [" in next(line for line in said.out.splitlines() if "bright0" in line)
    assert '"known_generators": ["blue", "red"]' in files[0].read_text()
    for path in files[1:3]:
        assert "the likeliest of those known (blue, red) has probability 0." in path.read_text()
    page = files[3].read_text()
    assert '"generator_score": 0.' in page
    assert '"known_generators": ["blue", "red"]' in page


def test_known_scores_do_not_keep_generators_out(scan, attr, tmp_path):
    images = bright(tmp_path / "images")
    first = scan(images, "--format", "csv")[1].out
    assert "generator" not in first
    for _ in range(2):
        rows = list(
            csv.DictReader(io.StringIO(scan(images, "--attribute", attr, "-f", "csv")[1].out))
        )
        assert sum(bool(r["generator"]) for r in rows) == 3


def test_a_scan_is_the_same_with_and_without_names(scan, attr, tmp_path):
    images = bright(tmp_path / "images")
    plain = list(csv.DictReader(io.StringIO(scan(images, "-f", "csv")[1].out)))
    named = list(csv.DictReader(io.StringIO(scan(images, "--attribute", attr, "-f", "csv")[1].out)))
    assert plain == [{k: r[k] for k in plain[0]} for r in named]


def test_naming_generators_in_a_scan_needs_no_torch(attr, tiny, tmp_path):
    images = bright(tmp_path / "images")
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom fakescan.cli import main\n"
        f"code = main(['scan', '--no-config', '--model', {str(tiny)!r}, '--attribute', "
        f"{str(attr)!r}, {str(images)!r}, '--format', 'csv', '-q'])\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "known_generators" in done.stdout


@pytest.mark.parametrize("broken", ["gone", "stale", "size"])
def test_an_attributor_that_cannot_be_used_stops_the_scan(
    broken, scan, attr, tmp_path, backbone_px
):
    images = bright(tmp_path / "images")
    if broken == "gone":
        code, said = scan(images, "--attribute", tmp_path / "gone")
        message, expected = "no such model file", 3
    elif broken == "stale":
        copy = shutil.copytree(attr, tmp_path / "copy")
        (copy / "attributor.onnx").unlink()
        code, said = scan(images, "--attribute", copy)
        message, expected = "not exported yet; run: fakescan attribute export", 3
    else:
        code, said = scan(images, "--attribute", backbone_px)
        message, expected = "--attribute: it sees 32 px (crop), the detector 16 px (crop)", 2
    assert code == expected
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1


@pytest.fixture
def backbone_px(tmp_path, pictures):
    """An exported attributor on larger squares."""
    model = tiny_model(tower=tiny_tower(image_px=32, blocks=2, has_projection=False), blocks=())
    onnx.save(build_graph(model, tiny_metadata(model)), tmp_path / "large.onnx")
    init(tmp_path / "large", BackboneConfig(weights=tmp_path / "large.onnx"), DESIGN)
    new = task(pictures, "first", "blue", real=True)
    learn(tmp_path / "large", new, SETTINGS, Machine(workers=0), Quiet())
    export(open_bundle(tmp_path / "large"), tmp_path / "large.onnx")
    return tmp_path / "large.onnx"


def test_export_and_verify_from_the_command_line(attr, tmp_path, capsys):
    copy = shutil.copytree(attr, tmp_path / "copy")
    assert main(["attribute", "export", str(copy), "--precision", "int8"]) == 0
    assert "logits differ from torch by at most" in capsys.readouterr().err
    assert main(["attribute", "verify", str(copy)]) == 0
    said = capsys.readouterr().err
    assert "as the manifest means them" in said
    assert "attributor.onnx is up to date" in said
    (copy / "attributor.onnx").unlink()
    assert main(["attribute", "verify", str(copy)]) == 0
    assert capsys.readouterr().err.endswith("not exported\n")
    adapter = copy / "adapters" / "task_001.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:-1])
    assert main(["attribute", "verify", str(copy)]) == 3
    assert "task_001.safetensors: damaged or replaced" in capsys.readouterr().err
