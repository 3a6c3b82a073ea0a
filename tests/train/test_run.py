"""Whole runs on the tiny backbone."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fakescan.errors import ConfigError, DatasetError
from fakescan.model.backbone import load_backbone
from fakescan.model.checkpoint import load_checkpoint, restore
from fakescan.train.folder import read_run
from fakescan.train.journal import read_journal
from fakescan.train.run import train
from fakescan.train.settings import CacheConfig, ProbeConfig


class Heard:
    """A listener that remembers."""

    def __init__(self):
        self.stages, self.notes = {}, []

    def progress(self, stage, done, total):
        self.stages.setdefault(stage, []).append((done, total))

    def note(self, text):
        self.notes.append(text)


def losses(run):
    return [r["bce"] for r in read_journal(run / "metrics.jsonl") if r["kind"] == "step"]


def test_a_run_leaves_all_its_files(config, data, pairs, tmp_path):
    out = tmp_path / "run"
    outcome = train(replace(config, data=(data, pairs)), out)
    assert outcome.validation.auc > 0.9
    found = {p.name for p in out.iterdir()}
    assert found == {
        "config.toml",
        "checkpoint.safetensors",
        "calibration.json",
        "held-out.csv",
        "training.json",
        "metrics.jsonl",
        "tensorboard",
        "loss.png",
        "unreadable.csv",
        "resume.safetensors",
    }
    with Image.open(out / "loss.png") as picture:
        assert picture.width > 800
    assert any((out / "tensorboard").iterdir())
    assert read_run(out).model.mole.blocks == (1, 2, 3)
    facts = json.loads((out / "training.json").read_text())
    assert sum(facts["images"]["train"]["real"].values()) == 10
    assert torch.__version__.startswith(facts["packages"]["torch"])
    judged = json.loads((out / "calibration.json").read_text())
    assert judged["calibration"]["slope"] > 0
    assert judged["band"]["t_real"] <= judged["band"]["t_fake"]
    assert judged["validation"]["n_real"] == judged["validation"]["n_fake"] == 10
    assert judged["validation"]["is_optimistic"] is False


def test_the_checkpoint_restores_the_kept_weights_and_the_frozen_ones_never_move(
    config, backbone, tmp_path
):
    before = load_backbone(backbone)
    train(replace(config, monitor="loss"), tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert checkpoint.backbone.sha256 == before.info.sha256
    model = restore(checkpoint, load_backbone(backbone))
    assert any(p.abs().sum() > 0 for n, p in model.named_parameters() if "lora_B" in n)


def test_no_epochs_leave_the_probe_with_experts_that_add_nothing(config, tmp_path):
    train(replace(config, epochs=0), tmp_path / "run")
    state = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").state
    assert state["head.weight"].abs().sum() > 0
    assert all(not value.any() for name, value in state.items() if "lora_B" in name)


@pytest.mark.parametrize("split", [True, False])
def test_with_and_without_cache_the_loss_is_bit_equal(config, data, pairs, tmp_path, split):
    config = replace(config, data=(data, pairs), cache=replace(config.cache, split=split))
    train(config, tmp_path / "cached")
    plain = replace(config, cache=CacheConfig(enabled=False, split=split))
    train(plain, tmp_path / "plain")
    assert losses(tmp_path / "cached") == losses(tmp_path / "plain")
    names = ("checkpoint.safetensors", "calibration.json")
    for name in names:
        assert (tmp_path / "cached" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_without_rounding_the_loss_is_within_a_thousandth(shared_config, finished, tmp_path):
    exact = CacheConfig(enabled=False, rounds=False)
    train(replace(shared_config, cache=exact), tmp_path / "plain")
    np.testing.assert_allclose(losses(finished), losses(tmp_path / "plain"), atol=1e-3)


def test_split_and_whole_trunks_train_alike(config, finished, tmp_path):
    train(replace(config, cache=replace(config.cache, split=False)), tmp_path / "whole")
    np.testing.assert_allclose(losses(finished), losses(tmp_path / "whole"), atol=1e-3)


def test_a_second_run_reads_the_cache_and_new_draws_extend_it(config, tmp_path):
    first, second, third = Heard(), Heard(), Heard()
    train(config, tmp_path / "first", listener=first)
    train(replace(config, seed=0, lr=1e-4), tmp_path / "second", listener=second)
    train(replace(config, draws=3), tmp_path / "third", listener=third)
    made = [len(heard.stages.get("trunk", [])) for heard in (first, second, third)]
    assert made[0] > made[2] > made[1] == 0
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_another_augmentation_gets_a_cache_of_its_own(shared_config, finished, tmp_path):
    before = set(shared_config.cache.folder.iterdir())
    changed = replace(shared_config.augmentation, quality=(30, 60))
    train(replace(shared_config, augmentation=changed), tmp_path / "run")
    assert len(set(shared_config.cache.folder.iterdir()) - before) == 1


def test_accumulation_changes_little_and_the_bce_of_the_first_step_nothing(
    shared_config, finished, tmp_path
):
    train(replace(shared_config, accumulate=4), tmp_path / "four")
    one, four = losses(finished), losses(tmp_path / "four")
    assert one[0] == pytest.approx(four[0], abs=1e-6)
    np.testing.assert_allclose(one, four, atol=5e-3)


def test_without_adapted_blocks_only_the_probe_is_fitted(config, tmp_path):
    model = replace(config.model, mole=replace(config.model.mole, blocks=()))
    outcome = train(replace(config, model=model), tmp_path / "run")
    assert outcome.steps == 0
    assert outcome.validation.auc > 0.9
    assert set(load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").state) == {
        "head.weight",
        "head.bias",
        "head.mean",
        "head.std",
    }


def test_the_loop_starts_at_the_probe(config, finished, tmp_path):
    model = replace(config.model, mole=replace(config.model.mole, blocks=()))
    probe = train(replace(config, model=model), tmp_path / "probe")
    first = read_journal(finished / "metrics.jsonl")[0]["validation"]
    assert first["loss"] == pytest.approx(probe.validation.loss, abs=2e-3)  # tokens are fp16


def test_the_head_can_start_untrained_and_the_average_be_kept(shared_config, tmp_path):
    changes = {"probe": ProbeConfig(enabled=False), "averaging": 0.9, "schedule": "constant"}
    outcome = train(replace(shared_config, **changes), tmp_path / "run")
    assert outcome.steps > 0


def test_training_stops_early_and_keeps_the_best(shared_config, tmp_path):
    heard = Heard()
    changed = replace(shared_config, patience=1, epochs=30, lr=0.5, monitor="loss")
    train(changed, tmp_path / "run", listener=heard)
    records = read_journal(tmp_path / "run" / "metrics.jsonl")
    epochs = [r for r in records if r["kind"] == "epoch"]
    assert len(epochs) < 20
    assert epochs[-1]["is_best"] is False
    last = epochs[-1]["epoch"]
    assert heard.notes[-1] == f"stopped after epoch {last}: no better than epoch {last - 1}"
    judged = json.loads((tmp_path / "run" / "calibration.json").read_text())
    best = min(r["validation"]["loss"] for r in epochs)
    assert judged["validation"]["loss"] == pytest.approx(best, abs=1e-9)


def test_nothing_held_out_trains_but_calibrates_nothing(shared_config, tmp_path):
    outcome = train(replace(shared_config, validation=0.0), tmp_path / "run")
    assert outcome.validation is None
    judged = json.loads((tmp_path / "run" / "calibration.json").read_text())
    assert judged["calibration"] == {"slope": 1.0, "intercept": 0.0}


def test_unreadable_images_are_counted_and_listed(config, data, tmp_path):
    from shutil import copytree

    copy = tmp_path / "data"
    copytree(data, copy)
    broken = copy / "source0" / "0_real" / "0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    out = tmp_path / "run"
    heard = Heard()
    train(replace(config, data=(copy,)), out, listener=heard)
    done, total = heard.stages["trunk"][-1]
    assert done == total
    assert "1 unreadable image left out, listed in unreadable.csv" in heard.notes
    rows = (out / "unreadable.csv").read_text().splitlines()
    assert len(rows) == 2
    assert rows[1].startswith(str(broken))
    assert json.loads((out / "training.json").read_text())["unreadable"] == 1
    train(replace(config, data=(copy,), cache=CacheConfig(enabled=False)), tmp_path / "plain")
    assert losses(out) == losses(tmp_path / "plain")


def test_nothing_but_unreadable_images_is_one_line_that_says_so(config, tmp_path):
    for leaf in ("a/0_real", "a/1_fake", "b/0_real", "b/1_fake"):
        (tmp_path / "data" / leaf).mkdir(parents=True)
        (tmp_path / "data" / leaf / "x.png").write_text("no image")
    with pytest.raises(DatasetError, match=r"without 4 unreadable images, such as .*x\.png \(not"):
        train(replace(config, data=(tmp_path / "data",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_worker_processes_make_the_same_images(config, finished, tmp_path):
    train(replace(config, workers=2), tmp_path / "workers")
    assert losses(finished) == losses(tmp_path / "workers")


def test_one_class_is_one_line(config, tmp_path):
    (tmp_path / "data" / "a" / "0_real").mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(tmp_path / "data" / "a" / "0_real" / "x.png")
    with pytest.raises(DatasetError, match="fake"):
        train(replace(config, data=(tmp_path / "data",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_used_folder_is_refused(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        train(config, tmp_path / "run")


def test_a_cache_beyond_its_limit_is_refused(config, tmp_path):
    with pytest.raises(ConfigError, match="the limit is 1e-06 GB"):
        train(replace(config, cache=replace(config.cache, max_gb=1e-6)), tmp_path / "run")
    train(config, tmp_path / "run")  # the folder is free


def test_fp16_needs_a_gpu(config, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        train(replace(config, precision="fp16"), tmp_path / "run")
    assert not (tmp_path / "run").exists()  # said before hours of frozen blocks


def test_bf16_trains(config, tmp_path):
    outcome = train(replace(config, precision="bf16", trunk_precision="bf16"), tmp_path / "run")
    assert outcome.validation.auc > 0.9


def test_attention_experts_train(config, tmp_path):
    mole = replace(config.model.mole, site="both", blocks=(2, 3), router_width=4)
    outcome = train(replace(config, model=replace(config.model, mole=mole)), tmp_path / "run")
    step = read_journal(tmp_path / "run" / "metrics.jsonl")[1]
    assert list(step["usage"])[:6] == ["2.q", "2.k", "2.v", "2.out", "2.mlp", "3.q"]
    assert outcome.validation.auc > 0.9
