"""The paper's figures beside those of a tiny detector that really scores."""

import csv
import json
from dataclasses import replace

import pytest
from PIL import Image

from fakescan.cli import main
from fakescan.evaluate.paper import read_table
from fakescan.metadata import BackboneInfo
from tiny import METADATA, PX, write_tiny

REALS, FAKES = (10, 40, 70, 200), (60, 180, 220, 250)


def write(folder, greys, suffix="png"):
    """Pictures larger than the detector's square, and one smaller."""
    folder.mkdir(parents=True)
    for i, grey in enumerate(greys):
        size = (PX - 4, PX + 8) if i == 0 else (3 * PX, 2 * PX)
        Image.new("RGB", size, (grey, grey, grey)).save(folder / f"{i}.x.{suffix}")


@pytest.fixture
def univfd(tmp_path):
    """Three columns that can be measured, one without reals, one that cannot be read."""
    root = tmp_path / "univfd"
    for name in ("progan/cat", "seeingdark"):
        write(root / "datasets/test" / name / "0_real", REALS)
        write(root / "datasets/test" / name / "1_fake", FAKES, "JPG")
    write(root / "diffusion_datasets/laion/0_real", REALS)
    write(root / "diffusion_datasets/dalle/1_fake", FAKES)
    write(root / "diffusion_datasets/guided/1_fake", FAKES)
    broken = root / "datasets/test/crn"
    write(broken / "0_real", REALS)
    (broken / "1_fake").mkdir()
    (broken / "1_fake/0.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return root


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """The tiny detector, saying that its backbone is one of the paper's."""
    metadata = replace(METADATA, backbone=BackboneInfo(name="ViT-L-14-quickgelu"))
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.onnx", metadata.to_json())


def run(root, *arguments):
    return main(["evaluate", str(root), "-j", "1", "--resamples", "20", *map(str, arguments)])


def test_paper_yours_and_difference_stand_side_by_side(univfd, detector, tmp_path, capsys):
    files = [tmp_path / f"u.{suffix}" for suffix in ("json", "csv")]
    outputs = [word for file in files for word in ("-o", file)]
    arguments = ("--protocol", "univfd", "--model", detector, "--no-equalised", *outputs)
    assert run(univfd, *arguments) == 0
    out = capsys.readouterr().out
    table = out.split("AP 1:1 beside MoLE_ViT-L/14")[1].split("\n\n")[0]
    lines = {line.split("  ")[0]: line.split() for line in table.splitlines()[1:]}
    ap = (1 + 1 + 3 / 4 + 4 / 6) / 4  # one real lies above two fakes, another above one
    assert lines["ProGAN"][1:5] == ["4", "4", "100.00", f"{100 * ap:.2f}"]
    assert lines["ProGAN"][-1] == f"{100 * ap - 100:.2f}"
    assert lines["DALLE"][1:4] == ["4", "4", "99.22"]
    assert lines["Guided"][1:] == ["-", "-", "94.40", "missing", "-"]
    assert "mean of these 3" in lines
    assert lines["all 19, as printed"][-1] == "97.45"
    assert "accuracy beside MoLE_ViT-L/14" in out
    assert "missing, and in no mean: Guided (no reals: there is no imagenet/0_real)" in out
    assert "no row for CRN: no fake or no real of it has a score" in out
    (found,) = json.loads(files[0].read_text())["detectors"]
    ap, acc = found["paper"]
    printed = read_table("table1_univfd_ap").row("MoLE_ViT-L/14")
    same = [printed[name] for name in ("ProGAN", "SITD", "DALLE")]
    assert ap["mean"]["paper"] == pytest.approx(sum(same) / 3, abs=1e-6)
    assert [row["generator"] for row in ap["generators"]] == ["ProGAN", "SITD", "DALLE"]
    assert len(ap["missing"]) == 16
    assert (ap["printed_mean"], acc["printed_mean"]) == (0.9745, 0.9245)
    assert (ap["mean"]["fakes"], ap["mean"]["reals"]) == (12, 12)
    with files[1].open(newline="") as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert rows["ProGAN"]["paper_ap"] == "1.000000"
    assert (rows["IMLE"]["kind"], rows["IMLE"]["auc"]) == ("missing", "")
    assert rows["IMLE"]["paper_acc"] == "0.967900"


def test_small_images_are_padded_and_large_ones_never_scaled(tmp_path, detector, capsys):
    """A bright frame around a dark middle: seen as a whole it is brighter than its middle."""
    for label, middle in (("0_real", 20), ("1_fake", 60)):
        folder = tmp_path / "r" / "biggan" / label
        folder.mkdir(parents=True)
        image = Image.new("RGB", (4 * PX, 4 * PX), (255 - 2 * middle,) * 3)
        image.paste((middle,) * 3, (PX, PX, 3 * PX, 3 * PX))
        image.save(folder / "0.png")
    write(tmp_path / "r/gaugan/0_real", (200,))
    write(tmp_path / "r/gaugan/1_fake", (200,))
    out = tmp_path / "o.json"
    arguments = ("--protocol", "univfd", "--model", detector, "--no-equalised", "-o", out)
    assert run(tmp_path / "r", *arguments) == 0
    assert "never scaled, padded with black" in capsys.readouterr().out
    rows = json.loads(out.read_text())["detectors"][0]["results"]["raw"]["rows"]
    assert rows[0]["figures"]["auc"]["value"] == 1.0  # by their middles, 60 above 20


def test_genimage_compares_accuracy_with_the_chosen_row(tmp_path, detector, capsys):
    root = tmp_path / "genimage"
    write(root / "imagenet_glide/val/nature", REALS, "JPEG")
    write(root / "imagenet_glide/val/ai", FAKES)
    write(root / "dalle2", FAKES, "webp")
    arguments = ("--protocol", "genimage", "--model", detector, "--no-equalised")
    assert run(root, *arguments, "--paper-row", "LNP", "--limit", 3) == 0
    out = capsys.readouterr().out
    assert "AP 1:1 beside" not in out
    table = out.split("accuracy beside LNP")[1].split("\n\n")[0]
    assert [line.split()[:4] for line in table.splitlines()[1:3]] == [
        ["GLIDE", "3", "3", "80.52"],
        ["DALLE2", "3", "3", "88.75"],
    ]
    assert "DALL-E 2: fakes of dalle2, reals of GenImage's val/nature" in out
    assert "at most 3 of each; 2 of 9 generators" in out


def test_somebody_elses_scores_are_compared_too(univfd, tmp_path, capsys):
    keys = sorted(p for p in univfd.rglob("*.x.*"))
    lines = [f"{p.relative_to(univfd).as_posix()},{'1_fake' in str(p):d}" for p in keys]
    scores = tmp_path / "theirs.csv"
    scores.write_text("\n".join(["path,score", *lines]) + "\n")
    chosen = ("--protocol", "univfd", "--scores", scores)
    assert run(univfd, *chosen) == 2
    assert "--paper-row says what to compare with" in capsys.readouterr().err
    assert run(univfd, *chosen, "--paper-row", "UnivFD") == 0
    out = capsys.readouterr().out
    assert "AP 1:1 beside UnivFD" in out
    assert "accuracy beside" not in out  # no threshold was given


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol", "univfd", "--split", "test"], "--protocol: takes no --split; univfd dec"),
        (["--protocol", "univfd", "--by", "source"], "--protocol: takes no --by source"),
        (["--protocol", "univfd", "--paper-row", "X"], "--paper-row X: no such row; known: CNNS"),
        (["--protocol", "univfd"], "the paper has no detector on the backbone none"),
        (["--protocol", "genimage"], "no generator of genimage with fakes and reals"),
        (["--paper-row", "UnivFD"], "--paper-row: needs --protocol"),
    ],
)
def test_wrong_choices_are_one_clear_line_before_anything_is_scored(
    univfd, tiny, arguments, message, capsys
):
    assert run(univfd, "--model", tiny, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
