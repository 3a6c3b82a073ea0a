"""The tower: equal to open_clip's, cut where asked, counted as the paper counts."""

import pytest
import torch

from fakescan.errors import ConfigError
from fakescan.model.backbone import tower_config
from fakescan.model.detector import DetectorModel, ModelConfig, count_parameters
from fakescan.model.mole import MoLEConfig
from fakescan.model.tower import Tower
from towers import tiny_pixels, tiny_tower

TABLE_4 = {
    ("ViT-B-32-quickgelu", 0): 0.001,
    ("ViT-B-32-quickgelu", 1): 0.067,
    ("ViT-B-32-quickgelu", 2): 0.133,
    ("ViT-B-32-quickgelu", 3): 0.200,
    ("ViT-B-32-quickgelu", 4): 0.266,
    ("ViT-B-32-quickgelu", 5): 0.332,
    ("ViT-B-32-quickgelu", 12): 0.792,
    ("ViT-L-14-quickgelu", 2): 0.051,
    ("ViT-L-14-quickgelu", 3): 0.077,
    ("ViT-L-14-quickgelu", 4): 0.103,
    ("ViT-L-14-quickgelu", 6): 0.154,
}
"""Percent of trainable parameters by adapted last blocks: the MoLE paper, table 4."""


@pytest.mark.parametrize(("name", "adapted"), TABLE_4)
def test_trainable_parameters_are_those_of_the_papers_table_4(name, adapted):
    with torch.device("meta"):
        tower = Tower(tower_config(name))
        blocks = tuple(range(tower.config.blocks - adapted + 1, tower.config.blocks + 1))
        # Four router columns: what the paper's counts imply, see docs/explanation/method.md.
        mole = MoLEConfig(blocks=blocks, router_width=4)
        model = DetectorModel(tower, ModelConfig(mole=mole))
    trained, total = count_parameters(model)
    assert f"{100 * trained / total:.3f}" == f"{TABLE_4[name, adapted]:.3f}"


def test_a_cut_tower_shares_parameters_and_computes_the_same_tokens():
    tower = tiny_tower()
    cut = tower.cut(1)
    assert cut.config.blocks == 1
    assert cut.conv1.weight is tower.conv1.weight or torch.equal(
        cut.conv1.weight, tower.conv1.weight
    )
    pixels = tiny_pixels()
    assert torch.equal(cut.blocks[0](cut.embed(pixels)), tower.blocks[0](tower.embed(pixels)))
    assert cut.sha256() != tower.sha256()


def test_a_cut_tower_has_no_projection():
    cut = tiny_tower().cut(1)
    with pytest.raises(ConfigError, match="no projection"):
        cut.project(torch.zeros(1, 5, 32))


def test_blocks_that_a_tower_has_not_give_one_clear_line():
    with pytest.raises(ConfigError, match="depth 3: this backbone has blocks 1 to 2"):
        tiny_tower().cut(3)


def test_equal_towers_have_equal_hashes():
    assert tiny_tower().sha256() == tiny_tower().sha256()
    changed = tiny_tower()
    with torch.no_grad():
        changed.conv1.weight[0, 0, 0, 0] += 1e-6
    assert changed.sha256() != tiny_tower().sha256()


def test_an_unknown_architecture_names_close_ones():
    with pytest.raises(ConfigError, match=r"close names: .*ViT-B-16"):
        tower_config("ViT-B-61-quickgelu")


@pytest.mark.open_clip
@pytest.mark.parametrize("name", ["ViT-B-32-quickgelu", "ViT-B-32"])
def test_the_tower_is_open_clips(name):
    import open_clip

    torch.manual_seed(0)
    theirs = open_clip.create_model(name, pretrained=None).visual.eval()
    ours = Tower(tower_config(name))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    pixels = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(pixels), theirs(pixels), atol=1e-4, rtol=1e-4)
