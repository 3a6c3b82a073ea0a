"""Checkpoints: what goes in comes out, and nothing else gets in."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from fakescan.errors import WeightsError
from fakescan.model.backbone import Backbone
from fakescan.model.checkpoint import load_checkpoint, restore, save_checkpoint
from towers import PREPROCESS, tiny_backbone, tiny_model, tiny_pixels


def saved(path, **settings):
    backbone = tiny_backbone()
    model = tiny_model(tower=backbone.tower, **settings)
    save_checkpoint(path, model, backbone.info, PREPROCESS, {"step": "7"})
    return model


@pytest.mark.parametrize("settings", [{}, {"head": "final", "site": "both"}, {"depth": 1}])
def test_a_restored_detector_gives_the_same_logits(tmp_path, settings):
    model = saved(tmp_path / "c.safetensors", **settings)
    checkpoint = load_checkpoint(tmp_path / "c.safetensors")
    again = restore(checkpoint, tiny_backbone())
    assert torch.equal(again(tiny_pixels()).logit, model(tiny_pixels()).logit)
    assert checkpoint.preprocess == PREPROCESS
    assert checkpoint.extra == {"step": "7"}
    assert checkpoint.model == model.config


def test_the_frozen_tower_is_not_stored(tmp_path):
    saved(tmp_path / "c.safetensors")
    assert not [k for k in load_checkpoint(tmp_path / "c.safetensors").state if "tower" in k]


def test_saving_leaves_no_other_file_and_replaces_the_old_one(tmp_path):
    saved(tmp_path / "c.safetensors")
    saved(tmp_path / "c.safetensors", depth=1)
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]
    assert load_checkpoint(tmp_path / "c.safetensors").model.depth == 1


def test_a_checkpoint_cut_lower_fits_the_whole_tower_and_the_cut_one(tmp_path):
    model = saved(tmp_path / "c.safetensors", depth=1)
    checkpoint, whole = load_checkpoint(tmp_path / "c.safetensors"), tiny_backbone()
    for backbone in (whole, Backbone(whole.tower.cut(1), whole.info)):
        again = restore(checkpoint, backbone)
        assert torch.equal(again(tiny_pixels()).logit, model(tiny_pixels()).logit)


def test_another_backbone_is_refused_in_one_line(tmp_path):
    saved(tmp_path / "c.safetensors")
    other = tiny_backbone(mlp_width=48)
    with pytest.raises(WeightsError, match=r"trained on tiny random \(\w{12}\), not on") as e:
        restore(load_checkpoint(tmp_path / "c.safetensors"), other)
    assert "\n" not in str(e.value)


def test_a_backbone_with_too_few_blocks_is_refused(tmp_path):
    saved(tmp_path / "c.safetensors")
    whole = tiny_backbone()
    with pytest.raises(WeightsError, match="uses 2 blocks of tiny; this backbone has 1"):
        restore(
            load_checkpoint(tmp_path / "c.safetensors"), Backbone(whole.tower.cut(1), whole.info)
        )


def test_names_of_own_entries_cannot_be_taken(tmp_path):
    with pytest.raises(ValueError, match="'model' is taken"):
        save_checkpoint(
            tmp_path / "c", tiny_model(), tiny_backbone().info, PREPROCESS, {"model": ""}
        )


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.safetensors")
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_checkpoint(tmp_path / "pickle.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "other.safetensors")
