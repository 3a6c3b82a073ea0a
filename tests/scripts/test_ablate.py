"""`scripts/ablate` from labelled images to tables and verdicts, on a tiny tower."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "experiments"))

import ablate
from dev_scores import FrozenViews

from fakescan.data.samples import read_samples
from fakescan.export.graph import build_graph
from towers import PREPROCESS, tiny_metadata, tiny_model, tiny_tower


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A tower of four blocks with a projection, in a file."""
    tower = tiny_tower(blocks=4)
    path = tmp_path_factory.mktemp("backbone") / "tiny.onnx"
    model = tiny_model(tower=tower, head="final")
    onnx.save(build_graph(model, tiny_metadata(model)), path)
    return path


def write_image(path, *, is_fake, seed):
    """A smooth picture; a fake is bluer."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((40, 36), Image.Resampling.BICUBIC), np.int16)
    if is_fake:
        pixels = pixels + np.array([-60, 0, 60], np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two sources of each class to train on, two to judge on, with a manifest."""
    root = tmp_path_factory.mktemp("data")
    rows = []
    for split, count in (("train", 8), ("dev", 6)):
        for source in range(4):
            label = ("real", "fake")[source % 2]
            for i in range(count):
                key = f"{split}/{label}-{split}{source}/{i}.png"
                write_image(root / key, is_fake=label == "fake", seed=len(rows))
                rows.append((key, label, split, f"{label}-{split}{source}"))
    with (root / "manifest.csv").open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(("path", "label", "split", "source"))
        out.writerows(rows)
    return root


@pytest.fixture
def run(data, backbone, tmp_path, capsys):
    """Run the script on the tiny tower: exit code, standard output and error."""

    def run(*arguments):
        places = (data, "--out", tmp_path / "out", "--backbone-weights", backbone)
        sizes = [
            "--backbone",
            "builtin",
            "--epochs",
            "1",
            "--images",
            "16",
            "--device",
            "cpu",
            "--seeds",
            "0",
            "1",
        ]
        code = ablate.main([*map(str, places), *sizes, *arguments])
        return code, *capsys.readouterr()

    return run


def test_every_table_is_written_and_a_second_call_trains_nothing(run, tmp_path):
    code, out, err = run("--only", "adapted-blocks", "adapter-design")
    assert (code, err) == (0, "")
    folder = tmp_path / "out"
    with (folder / "adapted-blocks.csv").open() as stream:
        rows = {row["row"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["none", "last1", "last2", "last3", "all"]
    assert {row["seeds"] for row in rows.values()} == {"2"}
    assert int(rows["none"]["parameters"]) == 8 + 1
    assert 0 <= float(rows["all"]["ap_low"]) <= float(rows["all"]["ap_high"]) <= 1
    assert rows["last3"]["ap_gain"] == ""
    with (folder / "adapter-design-orderings.csv").open() as stream:
        orderings = list(csv.DictReader(stream))
    assert len(orderings) == 10
    assert {o["verdict"] for o in orderings} <= {"holds", "does not", "cannot be told"}
    text = (folder / "adapter-design.md").read_text()
    assert "(e) shared and separate > (a) LoRA on MSA | 12.62 (ViT-B/32)" in text
    assert "`--budget small --head final`, changed by `--images 16 --epochs 1`" in text
    assert "trained on 16 of `train`" in text
    assert text in out
    stamps = {p: p.stat().st_mtime_ns for p in folder.glob("runs/*/outcome.json")}
    assert len(stamps) == 2 * (5 + 5 - 1)
    assert len(list((folder / "trunk").iterdir())) == 4  # none, last1, last2, last3; not all
    assert run("--only", "adapted-blocks", "adapter-design")[0] == 0
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps


def test_a_run_that_was_killed_is_done_again_and_gives_the_same(run, tmp_path):
    options = ("--only", "adapter-design", "--rows", "e", "--seeds", "0")
    assert run(*options)[0] == 0
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    first = np.load(folder / "dev.npz")["logits"]
    (folder / "outcome.json").unlink()  # killed while scoring: it goes on
    assert run(*options)[0] == 0
    assert np.array_equal(np.load(folder / "dev.npz")["logits"], first)
    assert json.loads((folder / "outcome.json").read_text())["seconds"] is None
    (folder / "outcome.json").unlink()
    (folder / "train" / "resume.safetensors").unlink()  # killed before the first state: anew
    assert run(*options)[0] == 0
    assert np.array_equal(np.load(folder / "dev.npz")["logits"], first)


def test_runs_with_other_settings_are_not_mixed(run, data, tmp_path):
    options = ("--only", "adapter-design", "--rows", "e", "--seeds", "0")
    assert run(*options)[0] == 0
    code, _, err = run(*options, "--epochs", "2")
    assert code == 2
    assert err.startswith("ablate: ")
    assert "made with other settings or images; choose another --out" in err
    assert run(*options, "--dev-cap", "2")[0] == 2


def test_a_partial_report_says_what_was_not_run(run, tmp_path):
    assert run("--only", "adapter-design", "--rows", "d", "--seeds", "0")[0] == 0
    code, out, _ = run("--only", "adapter-design", "--report")
    assert code == 0
    assert out.count("| | not run |") == 3
    assert "(e) shared and separate > (d) separate LoRAs only" in out
    assert "not run 9" in out


def test_the_plan_trains_nothing(run, tmp_path):
    code, out, _ = run("--plan", "--only", "ranks")
    assert code == 0
    assert "8 detectors, 16 runs" in out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mole", [{}, {"blocks": ()}, {"blocks": (1, 2)}, {"site": "both"}])
@pytest.mark.parametrize("head", ["final", "levels"])
def test_stored_parts_give_the_logits_of_the_whole_detector(data, tmp_path, head, mole):
    tower = tiny_tower(blocks=4)
    model = tiny_model(tower=tower, head=head, **{"blocks": (3, 4), **mole})
    samples = read_samples(data, split=("dev",))
    views = FrozenViews(tmp_path, samples, PREPROCESS)
    found = views.logits(model)
    whole = np.concatenate([model(p).logit.detach().numpy() for _, p in views._pixels()])
    assert np.abs(found - whole).max() < 5e-3  # tokens are stored in half precision
    assert views.logits(model).tolist() == found.tolist()
