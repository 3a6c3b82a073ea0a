"""Preset lorax-paper goes through every command; what does not fit it is one line."""

import json

import pytest
import torch
from safetensors.torch import save_file

from attributors import write_picture
from convits import small_network
from fakescan.attribute.bundle import read_manifest
from fakescan.attribute.design import PAPER
from fakescan.cli import main
from fakescan.model import convit
from fakescan.model.convit import load_convit, network


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Random weights of a small network, which is what `network` gives."""
    torch.manual_seed(0)
    monkeypatch.setattr(convit, "network", lambda name: small_network())
    path = tmp_path / "convit.safetensors"
    save_file({**small_network().state_dict(), "head.weight": torch.zeros(2, 32)}, path)
    return path


@pytest.fixture
def folders(tmp_path):
    """Twelve pictures of each kind."""
    for number, kind in enumerate(("real", "blue", "red")):
        for i in range(12):
            write_picture(tmp_path / kind / f"{i}.png", kind, 100 * number + i)
    return tmp_path


def run(*words):
    return main(["attribute", *map(str, words)])


def learn(attr, folders, task, *words):
    quick = ("--epochs", "2", "--batch-size", "8", "-j", "0", "-q")
    return run("learn", attr, "--task", task, "--fake", folders / task, *quick, *words)


@pytest.fixture
def known(tmp_path, weights, folders):
    """A bundle that knows two tasks."""
    attr = tmp_path / "attr"
    assert run("init", attr, "--preset", PAPER, "--backbone-weights", weights) == 0
    assert learn(attr, folders, "blue", "--real", folders / "real") == 0
    assert learn(attr, folders, "red") == 0
    return attr


def test_it_goes_through_every_command(known, folders, weights, tmp_path, capsys):
    manifest = read_manifest(known)
    assert manifest.backbone.name == "convit_base"
    assert manifest.preprocess.mean == manifest.preprocess.std == (0.5, 0.5, 0.5)
    assert manifest.memory.mode == "paths"
    out = tmp_path / "said.json"
    assert run("predict", known, folders / "red", "-o", out, "-j", "1") == 0
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 12
    assert all(row["generator"] in (None, "blue", "red") for row in rows)  # never unknown
    assert run("list", known, "-f", "csv") == 0
    assert run("verify", known) == 0
    first = (known / manifest.tasks[0].adapter.path).read_bytes()
    assert run("remove-task", known, "red") == 0
    assert (known / manifest.tasks[0].adapter.path).read_bytes() == first
    assert [c.name for c in read_manifest(known).classes] == ["real", "blue"]
    capsys.readouterr()
    assert run("export", known) == 0
    assert "0 answers change" in capsys.readouterr().err
    assert run("verify", known) == 0
    assert "attributor.onnx is up to date" in capsys.readouterr().err


def test_learning_moves_the_newest_adapter_alone(known, folders, weights):
    before = read_manifest(known)
    files = [(known / task.adapter.path).read_bytes() for task in before.tasks]
    assert files[0] != files[1]
    write_picture(folders / "green" / "0.png", "green", 1)
    write_picture(folders / "green" / "1.png", "green", 2)
    assert learn(known, folders, "green") == 0
    after = read_manifest(known)
    assert [(known / task.adapter.path).read_bytes() for task in after.tasks[:2]] == files
    assert after.memory.limit == 500


def test_it_is_evaluated_beside_its_baselines(known, folders, tmp_path, capsys):
    tree = tmp_path / "tree"
    for task, kind in (("a", "blue"), ("b", "red")):
        for name in ("real", kind):
            for i in range(6):
                write_picture(tree / task / name / f"{i}.png", name, 50 * (name == "real") + i)
    words = ("--folders", tree, "--epochs", "1", "--batch-size", "8", "-j", "0", "-q")
    assert run("eval", known, *words) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("LoRAX", "fine-tuning", "joint training", "nearest mean"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rank", "8"), "--rank: fixed by preset lorax-paper"),
        (("--last-blocks", "2"), "--last-blocks: fixed by preset lorax-paper"),
        (("--level", "4"), "--level: fixed by preset lorax-paper"),
        (("--backbone", "ViT-B-16"), "preset lorax-paper runs on convit_base, convit_small"),
        ((), "give timm's model.safetensors with --backbone-weights"),
    ],
)
def test_what_is_not_as_published_is_one_line(words, message, tmp_path, capsys):
    assert run("init", tmp_path / "attr", "--preset", PAPER, *words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_tokens_cannot_be_its_memory(tmp_path, weights, folders, capsys):
    attr = tmp_path / "attr"
    assert run("init", attr, "--preset", PAPER, "--backbone-weights", weights) == 0
    words = ("--real", folders / "real", "--memory-mode", "tokens")
    assert learn(attr, folders, "blue", *words) == 2
    assert "use paths, copies or none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("blocks.1.attn.qk.weight"), "no tensor 'blocks.1.attn.qk.weight'"),
        (lambda s: s.update({"cls_token": torch.zeros(1, 1, 5)}), "cls_token is (1, 1, 5)"),
        (lambda s: s["cls_token"].fill_(float("nan")), "holds values that are no numbers"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(change, message, tmp_path, weights, capsys):
    state = {k: v.clone() for k, v in small_network().state_dict().items()}
    change(state)
    path = tmp_path / "other.safetensors"
    save_file(state, path)
    assert run("init", tmp_path / "a", "--preset", PAPER, "--backbone-weights", path) == 3
    assert message in capsys.readouterr().err


def test_other_weights_are_refused(known, tmp_path, capsys):
    path = tmp_path / "other.safetensors"
    save_file({k: v + 1 for k, v in small_network().state_dict().items()}, path)
    assert run("verify", known, "--backbone-weights", path) == 3
    assert "not on this backbone" in capsys.readouterr().err


@pytest.mark.slow
def test_convit_tiny_learns_two_tasks(tmp_path, folders):
    path = tmp_path / "tiny.safetensors"
    save_file(network("convit_tiny").state_dict(), path)
    loaded, info = load_convit("convit_tiny", path)
    assert (loaded.gated, loaded.width, info.tower["image_px"]) == (10, 192, 224)
    attr = tmp_path / "attr"
    words = ("--preset", PAPER, "--backbone", "convit_tiny", "--backbone-weights", path)
    assert run("init", attr, *words) == 0
    assert learn(attr, folders, "blue", "--real", folders / "real") == 0
    assert learn(attr, folders, "red") == 0
    assert run("verify", attr) == 0
