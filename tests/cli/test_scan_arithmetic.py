"""`scan --arithmetic fast`: every report says so, and scores of two arithmetics never mix."""

import csv
import io
import json
import re
from pathlib import Path

import jsonschema
import onnx
import pytest

from fakescan.cli import main
from fakescan.export.graph import build_graph
from fakescan.fast.form import VERSION
from fakescan.report.stored import open_report
from towers import tiny_metadata, tiny_model

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "report.schema.json"
FAST = f"int8-fast-{VERSION}"
KNOWN = re.compile(r"cache: (\d+) of (\d+) scores were known")


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "detector.onnx"
    model = tiny_model()
    onnx.save(build_graph(model, tiny_metadata(model, "int8")), path)
    return path


@pytest.fixture
def scan(detector, photos, capsys, monkeypatch):
    """Run `fakescan scan` on paths that are the same in every run, since shards depend on them."""
    monkeypatch.chdir(photos.parent)

    def run(*arguments, code=0):
        given = [photos.name, "-j", "1", "--device", "cpu", "--model", detector, *arguments]
        assert main(["scan", *map(str, given)]) == code
        return tuple(capsys.readouterr())

    return run


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_row_of_a_fast_scan_says_so(scan):
    stored, fast = (rows(scan("--arithmetic", how)[0]) for how in ("stored", "fast"))
    assert {row["detector"] for row in fast} == {f"{stored[0]['detector']}+{FAST}"}
    scored = [pair for pair in zip(stored, fast, strict=True) if pair[0]["score"]]
    assert len(scored) == 3
    assert any(a["logit"] != b["logit"] for a, b in scored)
    assert all(abs(float(a["logit"]) - float(b["logit"])) < 0.5 for a, b in scored)


@pytest.mark.parametrize(("how", "name"), [("stored", "float32"), ("fast", FAST)])
def test_every_report_names_the_arithmetic(scan, tmp_path, how, name):
    ends = ("json", "sarif", "xml", "html", "parquet")
    files = [tmp_path / f"r.{end}" for end in ends]
    scan("--arithmetic", how, *(part for file in files for part in ("-o", file)))
    texts = dict(zip(ends, (f.read_bytes() for f in files), strict=True))
    report = json.loads(texts["json"])
    jsonschema.validate(report, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert report["detector"]["arithmetic"] == name
    assert report["detector"]["precision"] == "int8"
    run = json.loads(texts["sarif"])["runs"][0]
    assert run["properties"]["detector"]["arithmetic"] == name
    assert f'name="detector.arithmetic" value="{name}"' in texts["xml"].decode()
    assert f'"arithmetic": "{name}"' in texts["html"].decode()
    assert open_report(tmp_path / "r.parquet").said["detector"]["arithmetic"] == name


def test_the_cache_keeps_scores_of_each_arithmetic_apart(scan):
    first = scan("--arithmetic", "stored")[0]
    out, err = scan("--arithmetic", "fast")
    assert KNOWN.search(err) is None
    again, err = scan("--arithmetic", "fast")
    assert (again, KNOWN.search(err).groups()) == (out, ("3", "3"))
    assert scan("--arithmetic", "stored")[0] == first


def test_shards_of_different_arithmetic_are_not_merged(scan, tmp_path, capsys):
    files = [str(tmp_path / f"{number}.json") for number in (1, 2, 3)]
    for number, how in enumerate(("stored", "fast", "stored")):
        scan("--arithmetic", how, "--shard", f"{number + 1}/3", "-o", files[number])
    assert main(["report", "merge", *files, "-o", str(tmp_path / "all.json")]) == 2
    said = capsys.readouterr().err
    assert f"of different detectors or thresholds (arithmetic: float32 and {FAST})" in said


def test_a_cache_folder_that_is_none_is_told_once_and_changes_no_score(scan, monkeypatch, tmp_path):
    expected = scan("--arithmetic", "fast", "--no-cache")[0]
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FAKESCAN_CACHE_DIR", str(tmp_path / "file"))
    out, err = scan("--arithmetic", "fast", "--no-cache")
    assert out == expected
    assert err.count("the fast form cannot be kept") == 1


def test_a_detector_without_a_fast_form_ends_the_scan_before_it_begins(scan, tiny):
    out, err = scan("--arithmetic", "fast", "--model", tiny, code=2)
    assert out == ""
    assert err.count("\n") == 1
    assert "--arithmetic fast cannot be used" in err


def test_the_cache_command_knows_fast_forms(scan, cache_folder, capsys):
    scan("--arithmetic", "fast")
    assert main(["cache", "info"]) == 0
    assert re.search(r"fast: \d+\.\d MB of fast forms", capsys.readouterr().out)
    assert main(["cache", "clear"]) == 0
    assert [f for f in cache_folder.rglob("*") if f.is_file()] == []


def test_settings_choose_the_arithmetic_too(scan, tmp_path):
    file = tmp_path / "fakescan.toml"
    file.write_text('arithmetic = "fast"\n')
    assert FAST in scan("--config", file)[0]
