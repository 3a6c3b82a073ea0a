import csv
import hashlib
import io
import json
import os
import sys
from pathlib import Path

import jsonschema
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fakescan.cli import main

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "report.schema.json"
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


@pytest.fixture
def scan(tiny, capsys):
    """Run `fakescan scan`: exit code, standard output, standard error."""

    def run(*arguments):
        code = main(["scan", "-j", "1", "--model", str(tiny), *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_one_image_is_counted_in_the_singular(scan, photos):
    _, _, err = scan(photos / "dark.jpg")
    assert err.startswith("1 image: 1 real, ")


def test_a_pipe_gets_csv_and_standard_error_the_summary(scan, photos):
    code, out, err = scan(photos)
    assert code == 0
    found = {Path(r["path"]).name: r["verdict"] for r in rows(out)}
    assert found == {
        "broken.png": "error", "dark.jpg": "real", "grey.png": "uncertain", "bright.webp": "fake",
    }  # fmt: skip
    assert err.startswith("4 images: 1 real, 1 uncertain, 1 fake, 1 error in ")
    assert "images/s" in err
    assert "skipped: 1 not an image" in err
    assert f"error: {photos}/broken.png: damaged: only its start is PNG" in err


def test_quiet_says_nothing_on_standard_error(scan, photos):
    assert scan(photos, "-q")[2] == ""


@pytest.mark.parametrize(
    "name", ["csv", "json", "jsonl", "table", "sarif", "junit", "github", "html"]
)
def test_standard_output_takes_every_format(scan, photos, name):
    _, out, _ = scan(photos, "--format", name)
    assert "bright.webp" in out
    if name == "json":
        assert json.loads(out)["counts"] == {"real": 1, "uncertain": 1, "fake": 1, "error": 1}


def test_several_outputs_agree_and_leave_standard_output_empty(scan, photos, tmp_path):
    files = [tmp_path / f"report.{name}" for name in ("csv", "json", "jsonl")]
    code, out, _ = scan(photos, *[x for file in files for x in ("--output", file)])
    assert (code, out) == (0, "")
    document = json.loads(files[1].read_text())
    lines = [json.loads(line) for line in files[2].read_text().splitlines()]
    assert document["status"] == "complete"
    assert document["findings"] == lines
    assert [r["path"] for r in rows(files[0].read_text())] == [r["path"] for r in lines]
    assert {p.name for p in tmp_path.iterdir()} == {"photos", *(f.name for f in files)}


def test_only_flagged_leaves_real_images_out_of_reports_and_counts_them(scan, photos, tmp_path):
    _, _, err = scan(photos, "--only-flagged", "-o", tmp_path / "r.csv", "-o", tmp_path / "r.json")
    with (tmp_path / "r.csv").open(newline="") as file:
        assert [r["verdict"] for r in csv.DictReader(file)] == ["error", "uncertain", "fake"]
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["counts"]["real"] == 1
    assert document["settings"]["only_flagged"] is True
    assert err.startswith("4 images: 1 real, ")


def test_flagged_means_the_same_to_every_option(scan, photos, tmp_path):
    flags = ["--flagged", "fake", "--only-flagged", "--copy-flagged", tmp_path / "aside"]
    _, out, err = scan(photos, *flags)
    assert [r["verdict"] for r in rows(out)] == ["error", "fake"]
    assert "copied 1 flagged" in err
    assert [p.name for p in (tmp_path / "aside").rglob("*.*")] == ["bright.webp"]


def test_a_sarif_report_names_images_by_content(scan, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert scan("photos", "-o", "r.sarif")[0] == 0
    (run,) = json.loads((tmp_path / "r.sarif").read_text())["runs"]
    (result,) = [r for r in run["results"] if r["ruleId"] == "fake-image"]
    place = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place["uri"] == "photos/sub/bright.webp"
    data = (photos / "sub" / "bright.webp").read_bytes()
    assert result["partialFingerprints"] == {"contentSha256/v1": hashlib.sha256(data).hexdigest()}


def test_reports_that_are_no_use_in_part_leave_nothing_when_a_scan_fails(scan, photos, tmp_path):
    names = ("r.json", "r.sarif", "r.xml", "r.html", "none/r.csv")
    assert scan(photos, *[x for n in names for x in ("-o", tmp_path / n)])[0] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


def test_an_output_and_a_format_give_both(scan, photos, tmp_path):
    _, out, _ = scan(photos, "-o", tmp_path / "r.json", "-f", "jsonl")
    assert len(out.splitlines()) == 4
    assert (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 0),
        (["--fail-on", "fake"], 1),
        (["--fail-on", "error"], 1),
        (["--fail-on", "uncertain"], 1),
        (["--fail-on", "uncertain", "--threshold", "0.5"], 0),
        (["--fail-on", "uncertain", "--fail-on", "fake", "--threshold", "0.5"], 1),
        (["--max-fake", "0"], 1),
        (["--max-fake", "1"], 0),
        (["--max-fake", "1", "--threshold", "0.5"], 1),  # two fakes then
        (["--max-fake", "9", "--fail-on", "error"], 1),
    ],
)
def test_only_fail_on_and_max_fake_make_verdicts_an_exit_code(scan, photos, arguments, code):
    assert scan(photos, *arguments)[0] == code


def test_each_fail_on_names_only_itself(scan, photos):
    assert scan(photos / "dark.jpg", "--fail-on", "fake", "--fail-on", "error")[0] == 0


def test_a_folder_without_images_is_an_empty_report_and_a_warning(scan, tmp_path):
    code, out, err = scan(tmp_path)
    assert (code, rows(out)) == (0, [])
    assert "warning: no images found" in err


def test_images_of_which_none_could_be_scored_are_code_3(scan, photos):
    assert scan(photos / "broken.png")[0] == 3
    assert scan(photos / "broken.png", "--fail-on", "error")[0] == 3


def test_a_path_that_does_not_exist_is_code_2_before_anything_is_scanned(scan, photos, tmp_path):
    code, out, err = scan(photos, tmp_path / "gone", "-o", tmp_path / "r.csv")
    assert (code, out, err) == (2, "", f"fakescan: {tmp_path}/gone: no such file or folder\n")
    assert not (tmp_path / "r.csv").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--nonsense"],
        [".", "--device", "tpu"],
        [".", "--fail-on", "real"],
        [".", "-f", "xml"],
        [".", "--max-fake", "-1"],
    ],
)
def test_a_wrong_command_line_is_code_2(arguments, capsys):
    assert main(["scan", *arguments]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--threshold", "7"], "threshold: must lie between 0 and 1, got 7.0"),
        (["--batch-size", "0"], "batch_size: must be positive, got 0"),
        (
            ["-o", "report.txt"],
            "report.txt: no report format; known: .csv, .html, .json, .jsonl, .parquet, .sarif, "
            ".xml",
        ),
        (["-o", "a.csv", "-o", "a.csv"], "--output: the same file twice"),
        (["-o", "none/report.csv"], "none/report.csv: cannot be written"),
        (["-o", "none/report.json"], "none/report.json: cannot be written"),
        (["-o", "folder.json"], "folder.json: cannot be written"),
    ],
)
def test_what_cannot_work_is_one_line_and_code_2(
    scan, photos, tmp_path, monkeypatch, arguments, reason
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.json").mkdir()
    code, out, err = scan(photos, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"fakescan: {reason}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("data", [None, b"junk"])
def test_a_model_that_cannot_be_used_is_code_3(photos, tmp_path, capsys, data):
    model = tmp_path / "model.onnx"
    if data:
        model.write_bytes(data)
    assert main(["scan", str(photos), "--model", str(model)]) == 3
    err = capsys.readouterr().err
    assert err.startswith(f"fakescan: {model}: ")
    assert err.count("\n") == 1


def test_debug_shows_the_traceback(photos, tmp_path):
    with pytest.raises(Exception, match="no such model file"):
        main(["--debug", "scan", str(photos), "--model", str(tmp_path / "none.onnx")])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_a_full_disk_is_one_line_and_code_2(scan, photos, tmp_path, name):
    (tmp_path / f"r.{name}").symlink_to("/dev/full")
    code, _, err = scan(photos, "-o", tmp_path / f"r.{name}")
    assert code == 2
    assert "r." in err
    assert "No space left" in err


@posix
def test_names_reach_reports_whole_and_terminals_escaped(scan, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    odd = [b"new\nline.png", b"\x1b[31mred.png", b"[bold]b.png", b"=1+1.png", b"caf\xe9.png"]
    for name in odd:
        Image.new("L", (20, 20)).save(folder / "x.png")
        (folder / "x.png").rename(os.fsdecode(os.fsencode(folder) + b"/" + name))
    (folder / "bad\x1b[2J.png").write_bytes(b"")
    code, _, err = scan(folder, "-o", tmp_path / "r.csv")
    assert code == 0
    assert r"bad\x1b[2J.png: the file is empty" in err
    assert "\x1b" not in err
    with (tmp_path / "r.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        found = {os.fsencode(Path(r["path"]).name) for r in csv.DictReader(file)}
    assert found == {*odd, b"bad\x1b[2J.png"}


def test_prompts_are_reported_only_when_asked_for(scan, tmp_path):
    recipe = PngInfo()
    recipe.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1")
    Image.new("RGB", (40, 30)).save(tmp_path / "said.png", pnginfo=recipe)
    for arguments, detail in (
        ((), "png: Stable Diffusion parameters"),
        (("--metadata", "full"), "png: Stable Diffusion parameters; prompt: a cat"),
        (("--no-provenance", "--metadata", "full"), ""),
    ):
        (row,) = rows(scan(tmp_path, *arguments)[1])
        assert row["provenance_detail"] == detail
        assert row["provenance"] == ("generated" if detail else "")


def test_robustness_gives_a_column_per_perturbation(scan, photos):
    report = photos.parent / "report.json"
    code, out, _ = scan(photos, "--robustness", "--perturb", "crop:0.5", "-f", "csv", "-o", report)
    assert code == 0
    found = rows(out)
    names = [name for name in found[0] if ":" in name]
    assert names[:4] == ["blur:1", "blur:2", "blur:3", "blur:4"]
    assert names[4:] == [*(f"jpeg:{q}" for q in range(90, 20, -10)), "crop:0.5"]
    bad, dark = found[0], found[1]
    assert {bad[name] for name in (*names, "score_min", "score_max", "stable")} == {""}
    assert dark["stable"] == "true"
    assert dark["score_min"] <= dark["score"] <= dark["score_max"]
    document = json.loads(report.read_text())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert list(document["findings"][1]["perturbed"]) == names
    assert "perturbed" not in document["findings"][0]


def test_a_perturbation_out_of_range_is_one_line(scan, photos):
    code, _, err = scan(photos, "--perturb", "jpeg:101")
    assert code == 2
    assert "jpeg: quality must be a whole number from 1 to 100, got 101" in err
