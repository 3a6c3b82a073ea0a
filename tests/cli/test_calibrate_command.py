"""`fakescan calibrate`, and a scan with what it wrote."""

import csv
import json
import sys

import numpy as np
import pytest
from PIL import Image

from fakescan.cli import main


@pytest.fixture
def labelled(tmp_path):
    """Fifty-five images of each class in three sources each; fakes are brighter, with overlap."""
    rng = np.random.default_rng(0)
    for label, leaf in ((0, "0_real"), (1, "1_fake")):
        for i in range(55):
            pixels = np.clip(
                rng.normal(110 + 40 * label, 15) + rng.normal(0, 25, (6, 6, 3)), 0, 255
            )
            path = tmp_path / "labelled" / f"{leaf}{i % 3}" / leaf / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(pixels.astype(np.uint8))
            image.resize((40, 36), Image.Resampling.BICUBIC).save(path)
    return tmp_path / "labelled"


@pytest.fixture
def calibrate(tiny, capsys):
    """Run the command with the tiny detector: exit code, standard output and error."""

    def run(*arguments):
        code = main(["calibrate", "--model", str(tiny), *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def test_a_scan_uses_the_new_band(calibrate, labelled, tmp_path, capsys):
    new = tmp_path / "new.onnx"
    code, out, err = calibrate(labelled, "--out", new, "--output", tmp_path / "found.json")
    assert (code, err) == (0, "")
    assert "55 real and 55 fake images, 0 unreadable" in out
    assert "tiny-calibrated" in out.splitlines()[-1]
    found = json.loads((tmp_path / "found.json").read_text())
    band = found["band"]["after"]
    report = tmp_path / "scan.csv"
    assert main(["scan", str(labelled), "--model", str(new), "--output", str(report)]) == 0
    capsys.readouterr()
    with report.open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["detector"].partition("@")[0] for row in rows} == {"tiny-calibrated"}
    for row in rows:
        score = float(row["score"])
        if min(abs(score - t) for t in band.values()) < 1e-5:
            continue  # a threshold is one of the scores, and the report rounds
        expected = "fake" if score >= band["t_fake"] else "uncertain"
        assert row["verdict"] == ("real" if score < band["t_real"] else expected), row
    called = sum(r["verdict"] == "fake" and "0_real" in r["path"] for r in rows)
    assert called <= 1  # 2 % of 55
    assert found["figures"]["after"]["called_fake"]["value"] >= called / 55


def test_what_is_printed_is_what_the_report_says(calibrate, labelled, tmp_path):
    _, out, _ = calibrate(labelled, "--out", tmp_path / "n.onnx", "--output", tmp_path / "f.json")
    figures = json.loads((tmp_path / "f.json").read_text())["figures"]
    line = next(x for x in out.splitlines() if x.startswith("reals called fake"))
    for when in ("before", "after"):
        assert f"{100 * figures[when]['called_fake']['value']:.1f} [" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "{tiny}"], "is the detector itself"),
        (["--out", "{tiny}", "--force"], "is the detector itself"),
        (["--out", "{taken}"], "exists; choose another --out, or --force"),
        (["--out", "{missing}/new.onnx"], "in a folder that exists"),
        (["--out", "{new}", "--output", "{new}"], "name another for --output"),
        (["--out", "{new}", "--output", "{missing}/found.json"], "in a folder that exists"),
        (["--out", "{new}", "--max-misses", "1"], "max_misses lies in [0, 1)"),
        (["--out", "{new}", "--split", "dev"], "no sample of split dev"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_scored(
    calibrate, labelled, tiny, tmp_path, options, message
):
    taken = tmp_path / "taken.onnx"
    taken.write_text("earlier")
    before = tiny.read_bytes()
    places = {
        "tiny": tiny,
        "taken": taken,
        "new": tmp_path / "new.onnx",
        "missing": tmp_path / "missing",
    }
    code, out, err = calibrate(labelled, *(o.format(**places) for o in options))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert (tiny.read_bytes(), taken.read_text()) == (before, "earlier")
    assert not (tmp_path / "new.onnx").exists()


def test_force_replaces_and_quiet_says_nothing(calibrate, labelled, tmp_path):
    taken = tmp_path / "taken.onnx"
    taken.write_text("earlier")
    assert calibrate(labelled, "--out", taken, "--force", "--quiet") == (0, "", "")
    assert taken.stat().st_size > 500


def test_too_few_images_are_one_line(calibrate, photos, tmp_path):
    (photos / "1_fake").mkdir()
    (photos / "0_real").mkdir()
    (photos / "dark.jpg").rename(photos / "0_real/dark.jpg")
    (photos / "broken.png").rename(photos / "1_fake/broken.png")
    code, out, err = calibrate(photos, "--out", tmp_path / "new.onnx")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "1 real and 0 fake images can be read (1 unreadable)" in err


def test_it_needs_neither_torch_nor_onnx(calibrate, labelled, tmp_path, monkeypatch):
    for name in ("torch", "onnx"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises
    assert calibrate(labelled, "--out", tmp_path / "new.onnx", "--quiet")[0] == 0
