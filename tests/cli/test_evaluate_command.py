"""`fakescan evaluate` on real files, with the tiny detector and a real checkpoint."""

import csv
import json
import subprocess
import sys

import pytest
from PIL import Image

from fakescan.cli import main
from tiny import write_tiny


@pytest.fixture
def data(tmp_path):
    """Two generators with their own reals: bright fakes in gan/, dark ones in sd/; one broken."""
    folder = tmp_path / "data"
    for name, greys in {
        "gan/0_real": (10, 30, 50, 70),
        "gan/1_fake": (200, 220, 240, 60),
        "sd/0_real": (20, 40, 60, 80),
        "sd/1_fake": (50, 90, 150, 210),
    }.items():
        (folder / name).mkdir(parents=True)
        for i, grey in enumerate(greys):
            Image.new("RGB", (40, 30), (grey, grey, grey)).save(folder / name / f"{i}.png")
    (folder / "sd/1_fake/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return folder


@pytest.fixture
def evaluate(tiny, capsys, data):
    """Run `fakescan evaluate` on the data: exit code, standard output and error."""

    def run(*arguments, model=tiny):
        chosen = ["--model", str(model), "-j", "1"] if model else []
        rest = [*chosen, "--resamples", "40", *map(str, arguments)]
        code = main(["evaluate", str(data), *rest])
        return code, *capsys.readouterr()

    return run


def rows(text):
    """Cells of the first table's lines, by name."""
    lines = text.split("ranking")[1].split("\n\n")[0].splitlines()[1:]
    return {line.split()[0]: line.split()[1:] for line in lines}


def test_a_row_per_generator_and_their_mean(evaluate):
    code, out, err = evaluate()
    assert (code, err) == (0, "")
    found = rows(out)
    assert list(found) == ["gan", "sd", "mean"]
    assert found["gan"][:3] == ["4", "4", "93.8"]  # 60 lies above 3 of 4 reals
    assert found["sd"][:3] == ["4", "4", "87.5"]  # 50 above 2 of 4, the others above all
    assert found["mean"][:3] == ["8", "8", "90.6"]
    assert "note: left out: sd/1_fake/broken.png: " in out
    assert "file properties alone" not in out  # all are PNG of one size


def test_json_and_csv_hold_raw_and_equalised_results(evaluate, tmp_path):
    names = [tmp_path / f"result.{suffix}" for suffix in ("json", "csv")]
    assert evaluate("-o", names[0], "-o", names[1], "--equalise-px", 24, "--seed", 3)[0] == 0
    values = json.loads(names[0].read_text())
    (detector,) = values["detectors"]
    assert detector["detector"].startswith("tiny@")
    assert (detector["t_fake"], detector["t_real"]) == (0.8, 0.3)
    assert (detector["fakes"], detector["reals"]) == (8, 8)
    assert list(detector["results"]) == ["raw", "equalised"]
    assert (values["conditions"]["equalise_px"], values["conditions"]["seed"]) == (24, 3)
    gan = detector["results"]["raw"]["rows"][0]
    assert gan["figures"]["fake_acc"]["value"] == 0.75
    assert gan["figures"]["acc"]["value"] == 0.875
    with names[1].open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [(r["condition"], r["name"]) for r in lines if r["kind"] == "row"] == [
        (condition, name) for condition in ("raw", "equalised") for name in ("gan", "sd")
    ]


def test_no_equalised_leaves_the_second_pass_out(evaluate, tmp_path):
    out = evaluate("--no-equalised", "-o", tmp_path / "x.json")[1]
    assert "note: not repeated with format and size equalised" in out
    (detector,) = json.loads((tmp_path / "x.json").read_text())["detectors"]
    assert list(detector["results"]) == ["raw"]


def test_robustness_adds_a_result_per_perturbation(evaluate, tmp_path):
    assert evaluate("--robustness", "-o", tmp_path / "x.json")[0] == 0
    (detector,) = json.loads((tmp_path / "x.json").read_text())["detectors"]
    assert list(detector["results"])[2:] == [
        *(f"blur:{sigma}" for sigma in (1, 2, 3, 4)),
        *(f"jpeg:{quality}" for quality in range(90, 20, -10)),
    ]


def test_plots_and_page(evaluate, tmp_path):
    assert evaluate("--plots", tmp_path / "plots", "-o", tmp_path / "page.html")[0] == 0
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == ["histograms.png", "precision-recall.png", "reliability.png", "roc.png"]
    assert "data:image/png" in (tmp_path / "page.html").read_text()


def test_a_threshold_moves_accuracy_and_leaves_the_ranking(evaluate, tmp_path):
    assert evaluate("--threshold", 0.01, "-o", tmp_path / "x.json")[0] == 0
    (detector,) = json.loads((tmp_path / "x.json").read_text())["detectors"]
    mean = detector["results"]["raw"]["mean"]
    assert (mean["fake_acc"]["value"], mean["uncertain"]["value"]) == (1, 0)
    assert mean["auc"]["value"] == pytest.approx(0.90625)


def test_a_limit_takes_so_many_of_each(evaluate, tmp_path):
    out = evaluate("--limit", 2)[1]
    assert {cells[:2] == ["2", "2"] for name, cells in rows(out).items() if name != "mean"} == {
        True
    }
    assert out.startswith(f"{tmp_path / 'data'}, at most 2 of each; ")


def test_two_detectors_are_compared_on_the_same_images(evaluate, tiny, tmp_path):
    flat = write_tiny(tmp_path / "other.onnx")
    code, out, _ = evaluate("--model", flat, "-o", tmp_path / "x.json")
    assert code == 0
    first, second = json.loads((tmp_path / "x.json").read_text())["detectors"]
    assert first["difference"] == {}
    assert second["difference"]["raw"] == {"value": 0, "low": 0, "high": 0}
    assert "mean AUC minus the first detector's" in out


def test_scores_of_others_are_matched_by_path(evaluate, data, tmp_path):
    scores = tmp_path / "theirs.csv"
    keys = [p.relative_to(data).as_posix() for p in sorted(data.rglob("[0-9].png"))]
    lines = [f"{key},{3 + i}" for i, key in enumerate(keys[1:])]
    scores.write_text("\n".join(["path,score", *lines, "elsewhere.png,1", ""]))
    code, out, err = evaluate("--scores", scores, model=None)
    assert (code, err) == (0, "")
    assert out.splitlines()[2] == "theirs.csv: 8 fakes, 7 reals"
    for line in (
        "only raw scores: files were not opened",
        "no accuracy: no threshold was given",
        "no ECE: scores lie outside [0, 1]",
        f"left out: gan/0_real/0.png: no row in {scores}",
        "no image of the data: elsewhere.png",
    ):
        assert f"note: {line}" in out
    with_threshold = evaluate("--scores", scores, "--threshold", 5, model=None)[1]
    assert "no accuracy" not in with_threshold
    assert "fake from 5" in with_threshold


def test_a_scans_own_report_gives_the_detectors_ranking(evaluate, tiny, data, tmp_path, capsys):
    report = tmp_path / "scan.csv"
    assert main(["scan", str(data), "--model", str(tiny), "-q", "-o", str(report)]) in (0, 1, 2)
    capsys.readouterr()
    own, theirs = rows(evaluate()[1]), rows(evaluate("--scores", report, model=None)[1])
    for name, cells in own.items():
        assert theirs[name][:3] == cells[:3]
    out = evaluate("--scores", report, "--threshold", 0.8, model=None)[1]
    assert "ECE" in out
    assert "no ECE" not in out
    assert "left out: sd/1_fake/broken.png" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scores", "x.csv", "--robustness"], "--scores: takes no --robustness"),
        (["--scores", "none.csv"], "none.csv: no such file"),
        (["-o", "x.txt"], "x.txt: no format"),
        (["--pairing", "none.toml"], "none.toml: no such file"),
        (["--split", "test"], "no sample of split test"),
    ],
)
def test_a_wrong_request_is_one_clear_line(evaluate, arguments, message):
    code, out, err = evaluate(*arguments, model=None)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_threshold_out_of_range_is_one_clear_line(evaluate):
    code, _, err = evaluate("--threshold", 2)
    assert (code, err) == (2, "fakescan: threshold: must lie between 0 and 1, got 2.0\n")


def test_fakes_of_which_none_can_be_read_are_named(evaluate, data):
    for path in (data / "sd/1_fake").iterdir():
        path.write_bytes(b"nothing")
    code, out, _ = evaluate()
    assert code == 0
    assert "note: no row for sd: no fake or no real of it has a score" in out


def test_evaluating_an_onnx_file_never_loads_torch(data, tiny):
    code = (
        "import sys\nfrom fakescan.cli import main\n"
        f"main(['evaluate', {str(data)!r}, '--model', {str(tiny)!r}, '-j', '1', '-q'])\n"
        "print(sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
