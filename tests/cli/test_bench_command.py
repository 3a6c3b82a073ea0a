import json

import onnx
import pytest
from PIL import Image

from fakescan.cli import main
from fakescan.export.graph import build_graph
from towers import tiny_metadata, tiny_model


@pytest.fixture
def bench(tiny, capsys):
    """Run `fakescan bench` with the tiny detector: exit code, standard output and error."""

    def run(*arguments):
        code = main(["bench", "--model", str(tiny), "-j", "1", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def pictures(tmp_path):
    """A folder with five images that are all right and one that is not."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(5):
        Image.new("RGB", (40 + i, 30), (i, i, i)).save(folder / f"{i}.png")
    (folder / "3b.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return folder


def test_it_measures_with_photographs_of_its_own(bench, cache_folder):
    code, out, err = bench("--images", 4, "--rounds", 1)
    assert (code, err) == (0, "")
    assert "4 made JPEG files of 500x375" in out
    assert list(cache_folder.iterdir()) == []


def test_it_measures_with_the_images_that_are_named(bench, pictures):
    code, out, _ = bench(pictures, "--rounds", 2, "--format", "json")
    values = json.loads(out)
    assert code == 0
    assert values["detector"].startswith("tiny@")
    assert values["images"]["count"] == 5
    assert (values["images"]["width"], values["images"]["height"]) == (42, 30)
    assert (values["are_made"], values["left_out"]) == (False, 1)
    assert len(values["rounds"]) == 2
    for lap in values["rounds"]:
        assert min(lap[key] for key in lap) > 0
        assert lap["inside_s"] + lap["own_s"] <= lap["scan_s"]


def test_too_few_images_are_one_clear_line(bench, pictures):
    code, out, err = bench(pictures, "--images", 3)
    assert (code, out) == (2, "")
    assert err == "fakescan: too few images to measure with: 3; need 4, 4 batches of 1\n"
    assert "with: 5; need 8, 4 batches of 2" in bench(pictures, "--batch-size", 2)[2]


def test_a_path_that_does_not_exist_is_one_clear_line(bench, tmp_path):
    code, out, err = bench(tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert err == f"fakescan: {tmp_path}/nowhere: no such file or folder\n"


def test_it_compares_ways_to_score(bench, tmp_path):
    model = tiny_model()
    file = tmp_path / "tower.onnx"
    onnx.save(build_graph(model, tiny_metadata(model, "int8")), file)
    few = ("--images", 2, "--rounds", 1, "--format", "json")
    code, out, _ = bench("--model", file, "--compare", *few)
    values = json.loads(out)
    assert code == 0
    assert (values["images"], values["are_made"]) == (2, True)
    names = [result["name"] for result in values["results"]]
    assert {"as stored", "fast (int8-fast-2)", "fp32", "int8-static", "decoding alone"} < set(names)
    assert values["left_out"] == []
    for result in values["results"]:
        assert len(result["rounds"]) == 1
        assert result["images_per_s"] == pytest.approx(1 / result["rounds"][0], rel=1e-3)


@pytest.mark.parametrize("format_", ["table", "markdown"])
def test_a_comparison_is_a_table_with_its_conditions(bench, pictures, format_):
    code, out, _ = bench(pictures, "--compare", "--rounds", 1, "--format", format_)
    assert code == 0
    assert "5 files, one square each; the median of 1 round, in turns" in out
    assert "as stored" in out
    assert "left out: bare dynamic int8: no transformer blocks in it" in out


def test_threads_are_for_comparisons(bench):
    code, _, err = bench("--threads", 1)
    assert code == 2
    assert "--threads: only with --compare" in err
