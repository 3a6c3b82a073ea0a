"""Sequences of tasks, as trees and as CDDB has them, with every baseline beside LoRAX."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from attributors import DESIGN, write_picture
from fakescan.attribute.scenario import CDDB, read_cddb, read_folders
from fakescan.attribute.store import init
from fakescan.attribute.verdict import against_paper, means, remarks, table
from fakescan.cli import main
from fakescan.errors import DatasetError
from fakescan.evaluate.paper import read_rows

METHODS = [
    "LoRAX",
    "fine-tuning",
    "fine-tuning, refitted",
    "linear probe",
    "linear probe, around",
    "nearest mean",
    "joint training",
    "joint probe",
    "file properties",
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Three tasks; the last has two generators and no reals."""
    root = tmp_path_factory.mktemp("tree")
    tasks = {"a": ("real", "blue"), "b": ("real", "red"), "c": ("green", "dark")}
    for number, (task, kinds) in enumerate(tasks.items()):
        (root / task / "real").mkdir(parents=True)
        for kind in kinds:
            for i in range(14):
                write_picture(root / task / kind / f"{i}.png", kind, 1000 * number + i)
    return root


@pytest.fixture(scope="module")
def attr(tmp_path_factory, backbone):
    folder = tmp_path_factory.mktemp("attr") / "empty"
    init(folder, backbone, DESIGN)
    return folder


QUICK = ("--epochs", "1", "--memory", "20", "-j", "0", "--no-progress")


def run(attr, *words):
    return main(["attribute", "eval", str(attr), *map(str, words)])


def test_every_baseline_stands_beside_lorax(attr, tree, tmp_path, capsys):
    out = [tmp_path / f"out.{suffix}" for suffix in ("json", "txt", "png")]
    outputs = [word for path in out for word in ("-o", path)]
    words = ("--folders", tree, "--order", "a,b,c", "--order", "b,a,c", *QUICK, *outputs)
    assert run(attr, *words) == 0
    said = capsys.readouterr().out
    assert said == out[1].read_text()
    assert said.startswith("60 images to learn from, 24 to be judged by; percent\n")
    assert "LoRAX against fine-tuning: " in said
    assert "File properties alone reach " in said
    tracks = json.loads(out[0].read_text())["tracks"]
    assert list(dict.fromkeys(t["method"] for t in tracks)) == METHODS
    assert [sum(t["method"] == m for t in tracks) for m in METHODS] == [2, 2, 2, 2, 2, 2, 1, 1, 1]
    for track in tracks:
        final = np.array(track["R"], dtype=float)[:, -1]
        assert track["AAF"] == pytest.approx(final.mean())
        assert np.array(track["confusion"]).sum() == 24
    assert tracks[0]["AAF"] > 0.5  # six classes, two of reals; chance is far below
    assert tracks[6]["BWT"] is None  # oracles have no history
    with Image.open(out[2]) as picture:
        assert picture.width > 200


def test_lorax_of_an_evaluation_is_deterministic(attr, tree, tmp_path):
    found = []
    for name in ("x.json", "y.json"):
        assert run(attr, "--folders", tree, *QUICK, "-q", "-o", tmp_path / name) == 0
        tracks = json.loads((tmp_path / name).read_text())["tracks"]
        found.append([{k: v for k, v in t.items() if k != "seconds"} for t in tracks])
    assert found[0] == found[1]


def cddb(root, scenario):
    """CDDB's layout with a few pictures in each folder."""
    kinds = ("blue", "red", "green", "dark")
    for number, name in enumerate(CDDB[scenario]):
        nested = "apple" if name in ("cyclegan", "glow", "stargan_gf", "stylegan") else ""
        for split, count in (("train", 6), ("val", 3)):
            for leaf, kind in (("0_real", "real"), ("1_fake", kinds[number % 4])):
                for i in range(count):
                    path = root / name / split / nested / leaf / f"{i}.png"
                    write_picture(path, kind, 500 * number + 50 * (split == "val") + i)


@pytest.mark.parametrize(("scenario", "tasks"), [("easy", 7), ("hard", 5), ("long", 12)])
def test_the_published_scenarios_are_read_off_cddbs_folders(scenario, tasks, tmp_path):
    cddb(tmp_path, scenario)
    found = read_cddb(tmp_path, scenario, 0.3, 0)
    assert [task.name for task in found] == list(CDDB[scenario])
    assert len(found) == tasks
    for task in found:
        assert task.classes == ("real", task.name)
        assert (len(task.train), len(task.test)) == (12, 6)
        assert {s.split for s, _ in task.test} == {"val"}


def test_missing_folders_of_a_scenario_are_named(tmp_path):
    (tmp_path / "biggan").mkdir()
    with pytest.raises(DatasetError, match="lacks the folders gaugan, wild, whichfaceisreal, san"):
        read_cddb(tmp_path, "hard", 0.3, 0)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["easy", "hard", "long"])
def test_a_scenario_is_set_against_the_paper(scenario, attr, tmp_path, capsys):
    cddb(tmp_path, scenario)
    assert run(attr, "--cddb", tmp_path, "--scenario", scenario, *QUICK) == 0
    said = capsys.readouterr().out
    printed = {
        (r["method"], r["backbone"]): r
        for r in read_rows("lorax_500_exemplars")
        if r["scenario"] == scenario
    }
    (line,) = [x for x in said.splitlines() if x.startswith("LoRAX") and "ConViT-Base" in x]
    published = printed["LoRAX", "ConViT-Base"]
    own = next(x for x in said.splitlines() if x.startswith("LoRAX ")).split()
    assert f"{float(published['AAF']):.2f} / {own[2]}"[:10] in line
    assert ("S-Prompts" in said) == (scenario == "hard")


def row(method, final, **more):
    values = {"AA": math.nan, "BWT": math.nan, "binary_AAF": 0.9, "mAP": 0.8, "seconds": [1.0, 3.0]}
    return {"method": method, "AAF": final, **values, **more}


def test_a_difference_from_the_paper_is_yours_less_the_papers():
    lines = list(against_paper([row("LoRAX", 0.9, AA=0.95, BWT=-0.02)], "hard", 100))
    (base,) = [x for x in lines if x.startswith("LoRAX") and "Base" in x]
    assert "95.30 / 95.00 / -0.30" in base
    assert "92.90 / 90.00 / -2.90" in base
    assert "-0.74 / -2.00 / -1.26" in base
    (prompts,) = [x for x in lines if x.startswith("S-liPrompts")]
    assert "88.65 / 90.00 / +1.35" in prompts
    assert lines[0].endswith("yours with 100")


def test_the_table_averages_over_orders():
    rows = [row("LoRAX", 0.8), row("LoRAX", 0.9), row("nearest mean", 0.7)]
    assert means(rows)["LoRAX"]["AAF"] == pytest.approx(0.85)
    lines = list(table(rows))
    assert lines[1].split()[:4] == ["LoRAX", "2", "85.0", "(80.0-90.0)"]
    assert " - " in lines[1]  # no BWT


def test_a_baseline_that_wins_is_named():
    rows = [row("LoRAX", 0.8), row("nearest mean", 0.85), row("linear probe", 0.7)]
    said = list(remarks(rows))
    assert said[0].startswith("LoRAX does not beat nearest mean here: 80.0 against 85.0")
    assert not any("linear probe" in line for line in said)


def test_a_tree_needs_two_tasks_and_enough_images(tmp_path):
    for i in range(3):
        write_picture(tmp_path / "a" / "real" / f"{i}.png", "real", i)
        write_picture(tmp_path / "a" / "blue" / f"{i}.png", "blue", i)
    with pytest.raises(DatasetError, match="one task only"):
        read_folders(tmp_path, 0.3, 0)
    write_picture(tmp_path / "b" / "real" / "0.png", "real", 9)
    write_picture(tmp_path / "b" / "red" / "0.png", "red", 9)
    with pytest.raises(DatasetError, match="a: 3 images of 'real' are too few"):
        read_folders(tmp_path, 0.3, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give either --folders or --cddb"),
        (("--folders", "tree", "--cddb", "tree"), "give either --folders or --cddb"),
        (("--folders", "tree", "--scenario", "hard"), "--scenario: needs --cddb"),
        (("--folders", "tree", "--order", "a,b"), "--order a,b: name each task once; there are a"),
        (("--folders", "tree", "--order", "c,a,b"), "c: the first task needs real images, too"),
        (("--folders", "tree", "-o", "x.pdf"), "x.pdf: no format for it"),
        (("--folders", "tree", "--test-share", "1"), "--test-share 1: lies between"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(words, message, attr, tree, monkeypatch, capsys):
    monkeypatch.chdir(tree.parent)
    assert run(attr, *(tree.name if word == "tree" else word for word in words)) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
