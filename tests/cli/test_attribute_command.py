"""`fakescan attribute` from the command line: a tiny attributor learns, says, forgets."""

import csv
import io
import json

import onnx
import pytest
from PIL import Image

from attributors import TINTS, write_picture
from fakescan.cli import main
from fakescan.cli.attribute import PREDICTED
from fakescan.export.graph import build_graph
from towers import tiny_metadata, tiny_model, tiny_tower


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for number, kind in enumerate(TINTS):
        for i in range(12):
            folder = root / ("test" if i >= 10 else "train") / kind
            write_picture(folder / f"{i}.png", kind, 100 * number + i)
    return root


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    model = tiny_model(tower=tiny_tower(blocks=3, has_projection=False), blocks=())
    path = tmp_path_factory.mktemp("detector") / "tiny.onnx"
    onnx.save(build_graph(model, tiny_metadata(model)), path)
    return path


QUICK = ("--epochs", "1", "--workers", "0", "--quiet")


@pytest.fixture
def attr(tmp_path, images, detector, capsys):
    folder = tmp_path / "attr"
    assert run("init", folder, "--backbone-weights", detector, "--last-blocks", 1) == 0
    blue, real = images / "train" / "blue", images / "train" / "real"
    assert run("learn", folder, "--task", "one", "--fake", blue, "--real", real, *QUICK) == 0
    capsys.readouterr()
    return folder


def run(*words):
    return main(["attribute", *map(str, words)])


def test_a_second_task_names_its_generators(attr, images, capsys):
    red, green = images / "train" / "red", images / "train" / "green"
    words = ("--task", "two", "--fake", f"rouge={red}", "--fake", green, "--epochs", "1")
    assert run("learn", attr, *words, "-j", "0", "--no-progress") == 0
    said = capsys.readouterr().err
    assert "learnt rouge, green from 20 new and 20 old images in" in said
    assert "which 5% of known generators' held-out fakes do not reach" in said
    assert run("list", attr, "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(r["task"], r["kind"], r["name"]) for r in rows] == [
        ("one", "real", "real"),
        ("one", "fake", "blue"),
        ("two", "fake", "rouge"),
        ("two", "fake", "green"),
    ]


def test_predictions_name_the_known_generators_and_all_probabilities(attr, images, capsys):
    assert run("predict", attr, images / "test" / "blue", "--format", "json", "--top", 5) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["fakescan_attribute_version"] == 1
    assert out["known_generators"] == ["blue"]
    assert len(out["rows"]) == 2
    for row in out["rows"]:
        assert tuple(row) == PREDICTED
        assert 0 <= row["generator_score"] <= 1
        assert row["top"] == [f"blue {row['generator_score']:.3f}"]


def test_an_image_that_cannot_be_read_is_a_row_with_the_reason(attr, images, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    out = tmp_path / "out.csv"
    assert run("predict", attr, broken, images / "test" / "real", "-o", out) == 0
    assert capsys.readouterr().out == ""
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert rows[0]["verdict"] == "error"
    assert rows[0]["error"]
    assert len(rows) == 3
    assert run("predict", attr, broken) == 3


def test_the_threshold_can_be_set_and_switched_off(attr, images, capsys):
    Image.new("RGB", (40, 36), (0, 0, 255)).save(attr.parent / "blue.png")
    found = []
    for threshold in ("1", "off", "auto"):
        words = ("--unknown-threshold", threshold, "--format", "json")
        assert run("predict", attr, images / "test" / "blue", *words) == 0
        found.append([r["generator"] for r in json.loads(capsys.readouterr().out)["rows"]])
    assert set(found[0]) <= {"unknown", None}
    assert "unknown" not in found[1]


def test_a_forgotten_task_is_not_listed(attr, images, capsys):
    red = images / "train" / "red"
    assert run("learn", attr, "--task", "two", "--fake", red, *QUICK) == 0
    assert run("remove-task", attr, "two") == 0
    assert capsys.readouterr().err.endswith("forgot two; it still knows one\n")
    assert run("remove-task", attr, "one") == 2
    assert "the only one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["learn", "@", "--task", "x", "--fake", "nowhere"], 2, "--fake nowhere: no such folder"),
        (["learn", "@", "--task", "x", "--fake", "empty"], 2, "--fake empty: no images in it"),
        (["learn", "@", "--task", "one", "--fake", "red"], 2, "--task 'one': taken"),
        (["learn", "@", "--task", "x", "--fake", "unknown=red"], 2, "cannot be called 'unknown'"),
        (["learn", "gone", "--task", "x", "--fake", "red"], 3, "gone: no attributor"),
        (["predict", "gone", "red"], 3, "gone: no attributor"),
        (["predict", "@", "nowhere"], 2, "nowhere: no such file or folder"),
        (["predict", "@", "red", "--unknown-threshold", "2"], 2, "auto, off, or a score from 0"),
        (["predict", "@", "red", "-o", "x.pdf"], 2, "x.pdf: no format for it"),
        (["remove-task", "@", "two"], 2, "task 'two': not known; known: one"),
        (["init", "@"], 2, "not empty; an attributor needs a new folder"),
        (["list", "gone"], 3, "`fakescan attribute init` makes one"),
    ],
)
def test_what_cannot_work_is_one_line(words, code, message, attr, images, monkeypatch, capsys):
    monkeypatch.chdir(images / "train")
    (images / "train" / "empty").mkdir(exist_ok=True)
    assert run(*(str(attr) if word == "@" else word for word in words)) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.err.startswith("fakescan: ")
