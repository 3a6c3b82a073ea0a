"""The detector: its start, what training may change, and the cut between trunk and tail."""

import pytest
import torch

from fakescan.errors import ConfigError
from fakescan.model.detector import DetectorModel, ModelConfig
from fakescan.model.head import level_vector
from fakescan.model.mole import MoLEConfig
from towers import tiny_model, tiny_pixels, tiny_tower

SITES = ["mlp", "attention", "both"]


def fresh(head="levels", **mole):
    levels = (1, 2) if head == "levels" else ()
    return DetectorModel(
        tiny_tower(), ModelConfig(head=head, levels=levels, mole=MoLEConfig(**mole))
    )


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("head", ["final", "levels"])
def test_at_the_start_the_detector_is_its_linear_probe_exactly(site, head):
    model = fresh(head, site=site)
    probe = DetectorModel(
        model.tower, ModelConfig(head=head, levels=model.config.levels, mole=MoLEConfig(blocks=()))
    )
    probe.head.load_state_dict(model.head.state_dict())
    pixels = tiny_pixels()
    assert torch.equal(model(pixels).logit, probe(pixels).logit)


def test_a_final_head_reads_what_clip_gives():
    model = tiny_model(head="final", blocks=())
    pixels = tiny_pixels()
    features = model.tower(pixels)
    torch.testing.assert_close(model(pixels).logit, model.head(features))


def test_a_levels_head_reads_class_token_and_mean_patch_of_each_level():
    model = tiny_model(blocks=())
    pixels = tiny_pixels()
    tokens, vectors = model.tower.embed(pixels), []
    for block in model.tower.blocks:
        tokens = block(tokens)
        vectors.append(level_vector(tokens))
    torch.testing.assert_close(model(pixels).logit, model.head(torch.cat(vectors, dim=-1)))


@pytest.mark.parametrize("site", SITES)
def test_a_training_step_leaves_frozen_weights_bit_identical(site):
    model = fresh(site=site).train()
    before = {name: value.clone() for name, value in model.tower.state_dict().items()}
    start = {name: value.clone() for name, value in model.trained_state().items()}
    optimiser = torch.optim.AdamW(model.trainable(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        output = model(tiny_pixels())
        loss = torch.nn.functional.softplus(-output.logit).mean() + output.load_balance()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = model.tower.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    moved = {k for k, v in model.trained_state().items() if not torch.equal(v, start[k])}
    assert moved == start.keys() - {"head.mean", "head.std"}


@pytest.mark.parametrize("head", ["final", "levels"])
@pytest.mark.parametrize(("blocks", "site"), [((2,), "mlp"), ((1, 2), "both"), ((), "mlp")])
def test_trunk_and_tail_are_the_whole(head, blocks, site):
    model = tiny_model(head=head, blocks=blocks, site=site)
    pixels = tiny_pixels()
    assert torch.equal(model.tail(model.trunk(pixels)).logit, model(pixels).logit)


@pytest.mark.parametrize("blocks", [(1,), (2,), (1, 2)])
def test_a_split_trunk_gives_the_same_logits(blocks):
    model = tiny_model(blocks=blocks)
    pixels = tiny_pixels()
    split, plain = model.tail(model.trunk(pixels, split=True)), model(pixels)
    torch.testing.assert_close(split.logit, plain.logit, atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(split.router_logits, plain.router_logits, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_a_split_needs_experts_around_the_mlp_only():
    with pytest.raises(ValueError, match="MLP only"):
        tiny_model(site="both").trunk(tiny_pixels(), split=True)


def test_the_load_balance_of_several_routers_is_their_sum():
    output = tiny_model(site="both")(tiny_pixels())
    assert len(output.router_logits) == 2 * 5
    assert output.load_balance().item() >= 10 - 1e-4


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ModelConfig(depth=1), "needs all 2 blocks"),
        (ModelConfig(head="levels", levels=(3,)), "level 3: this backbone has blocks 1 to 2"),
        (ModelConfig(head="levels", levels=(1,), depth=0), "depth 0: this backbone has"),
        (ModelConfig(head="levels"), "needs levels"),
        (ModelConfig(levels=(1,)), "head 'levels' only"),
        (ModelConfig(head="levels", levels=(1,), depth=2), "nothing above block 1"),
        (ModelConfig(mole=MoLEConfig(blocks=(3,))), "block 3"),
    ],
)
def test_blocks_that_are_not_there_are_refused(config, words):
    with pytest.raises(ConfigError, match=words):
        config.resolved(2)


def test_the_last_three_means_the_last_three_that_are_used():
    config = ModelConfig(head="levels", levels=(4, 6, 8)).resolved(12)
    assert config.depth == 8
    assert config.mole.blocks == (6, 7, 8)


def test_a_folded_head_is_the_same_function():
    head = tiny_model().head
    features = torch.randn(5, len(head.weight))
    weight, bias = head.folded()
    torch.testing.assert_close(features @ weight + bias, head(features), atol=1e-4, rtol=1e-4)


def test_a_final_head_on_a_cut_tower_is_refused_with_what_to_use_instead():
    with pytest.raises(ConfigError, match="use head 'levels'"):
        DetectorModel(tiny_tower(has_projection=False), ModelConfig(head="final"))
