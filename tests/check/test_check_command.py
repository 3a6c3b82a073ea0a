"""`fakescan data check` on real files."""

import csv
import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from fakescan.check.files import Facts, read_files
from fakescan.check.run import Limits, check, exceeded
from fakescan.check.shares import share_tables
from fakescan.cli import main
from fakescan.data.properties import NAMES
from fakescan.data.recognise import recognise
from fakescan.data.samples import read_samples


def picture(seed, size=(48, 48)):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """JPEG reals and PNG fakes in two splits, with one of everything that may be wrong."""
    root = tmp_path_factory.mktemp("leaky")
    for split in ("train", "test"):
        for i in range(6):
            real, fake = (
                root / split / f"{n}" / leaf for n, leaf in (("cam", "0_real"), ("gan", "1_fake"))
            )
            real.mkdir(parents=True, exist_ok=True)
            fake.mkdir(parents=True, exist_ok=True)
            seed = 100 * (split == "test") + i
            picture(seed).save(real / f"{i}.jpg", quality=80)
            picture(seed + 1000, (32, 32)).save(fake / f"{i}.png")
    picture(3).resize((40, 40)).save(root / "test/cam/0_real/again.jpg", quality=60)
    picture(4).save(root / "train/gan/1_fake/stolen.png")
    (root / "train/gan/1_fake/copy.png").write_bytes((root / "train/gan/1_fake/0.png").read_bytes())
    (root / "train/cam/0_real/=broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    return root


def run(*arguments):
    return main(["data", "check", *map(str, arguments), "--no-progress", "-j", "1"])


def test_everything_that_is_wrong_is_told(leaky, tmp_path, capsys):
    assert run(leaky, "-o", tmp_path / "c.json", "-o", tmp_path / "c.csv") == 0
    out = capsys.readouterr().out
    assert "layout: plain folders" in out
    assert "images: 28, 14 real and 14 fake" in out
    assert "splits: test 13, train 15" in out
    assert "unreadable: 1\n  train/cam/0_real/=broken.jpg: not an image" in out
    assert "exact copies: 1\n  train/gan/1_fake/0.png = train/gan/1_fake/copy.png" in out
    assert "near-duplicates across splits: 2 images (test - train 2)" in out
    assert "near-duplicates across labels: 2 images (fake - real 2)" in out
    assert "format, imbalance 1.00" in out
    found = json.loads((tmp_path / "c.json").read_text())
    assert found["fakescan_check_version"] == 1
    assert found["images"] == 28
    assert {(c["split"], c["source"], c["reals"], c["fakes"]) for c in found["counts"]} == {
        ("train", "cam", 7, 0),
        ("train", "gan", 0, 8),
        ("test", "cam", 7, 0),
        ("test", "gan", 0, 6),
    }
    (twin,) = found["near_duplicates"]["across_splits"]["twins"]
    assert twin["path"] == "test/cam/0_real/again.jpg"
    assert twin["other"] == "train/cam/0_real/3.jpg"
    assert found["properties"]["auc"]["value"] > 0.95
    assert found["exceeded"] == []
    with (tmp_path / "c.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["problem"] for row in rows} == {
        "unreadable",
        "duplicate",
        "across splits",
        "across labels",
    }


@pytest.fixture(scope="module")
def found(leaky):
    samples = read_samples(leaky)
    return check(recognise(leaky, samples), read_files(samples, workers=1))


@pytest.mark.parametrize(
    ("limit", "enough", "too_low", "line"),
    [
        ("properties_auc", 1, 0.9, "AUC of file properties: 1, more than --max-properties-auc 0.9"),
        ("unreadable", 1, 0, "unreadable images: 1, more than --max-unreadable 0 allows"),
        ("duplicates", 1, 0, "exact copies: 1, more than --max-duplicates 0"),
        ("near_duplicates", 2, 1, "images like one of another split: 2"),
        ("label_conflicts", 2, 1, "images like one of the other label: 2"),
    ],
)
def test_a_limit_that_is_exceeded_is_named(found, limit, enough, too_low, line):
    assert exceeded(found, Limits()) == ()
    assert exceeded(found, Limits(**{limit: enough})) == ()
    (said,) = exceeded(found, Limits(**{limit: too_low}))
    assert said.startswith(line)


def test_exit_code_1_says_that_a_limit_is_exceeded(leaky, capsys):
    assert run(leaky, "--max-unreadable", 0, "--max-properties-auc", 0.6) == 1
    err = capsys.readouterr().err.splitlines()
    assert [line[:30] for line in err] == [
        "fakescan: AUC of file properti",
        "fakescan: unreadable images: 1",
    ]


def test_declared_pairs_are_no_label_conflict(tmp_path, capsys):
    rows = ["path,label,pair"]
    for i in range(3):
        picture(i).save(tmp_path / f"r{i}.png")
        picture(i).save(tmp_path / f"f{i}.jpg", quality=90)
        rows += [f"r{i}.png,real,p{i}", f"f{i}.jpg,fake,p{i}"]
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    assert run(tmp_path, "--max-label-conflicts", 0) == 0
    out = capsys.readouterr().out
    assert "layout: manifest" in out
    assert "near-duplicates across splits: there is one split only" in out
    assert "6 of them only as a pair or derived_from declares" in out


def test_one_class_is_checked_without_an_auc(tmp_path, capsys):
    (tmp_path / "real").mkdir()
    picture(0).save(tmp_path / "real/a.png")
    assert run(tmp_path) == 0
    assert "AUC of file properties: none" in capsys.readouterr().out
    assert run(tmp_path, "--max-properties-auc", 0.8) == 2
    assert "needs readable images of both classes" in capsys.readouterr().err


def test_wrong_options_are_one_line_before_anything_is_read(leaky, tmp_path, capsys):
    assert run(leaky, "-o", tmp_path / "c.txt") == 2
    assert "no format of a check; known: .json, .csv" in capsys.readouterr().err
    assert run(leaky, "--max-properties-auc", 0.3) == 2
    assert "need 0.5 (chance) to 1, got 0.3" in capsys.readouterr().err
    assert run(tmp_path / "nowhere") == 2
    assert "no such folder or manifest" in capsys.readouterr().err


def test_imbalance_by_hand():
    values = [0.0] * len(NAMES)
    facts = [Facts("", None, 100, 200, "JPEG", tuple(values))] * 4
    facts += [Facts("", None, 600, 600, "PNG", tuple(values))] * 2
    form, side, *_ = share_tables([0, 0, 0, 1, 1, 1], facts)
    assert [(r.name, r.reals, r.fakes) for r in form.rows] == [("JPEG", 3, 1), ("PNG", 0, 2)]
    assert form.imbalance == pytest.approx((3 / 3 - 1 / 3 + 2 / 3) / 2)
    assert [r.name for r in side.rows] == ["below 129", "513 to 1024"]


@pytest.mark.parametrize("name", ["imagehash", "pebble"])
def test_a_missing_package_is_named(leaky, name, monkeypatch, capsys):
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda wanted: None if wanted == name else known(wanted)
    )
    assert run(leaky) == 2
    assert f"needs the package {name}: pip install 'fakescan[evaluate]'" in capsys.readouterr().err
