"""One pass for all tasks gives what a pass for each gives, wherever the adapters stand."""

import pytest
import torch

from fakescan.attribute.design import Design
from fakescan.attribute.extractors import SharedTrunk
from fakescan.errors import AttributorError, ConfigError
from towers import tiny_pixels, tiny_tower


def made(tasks=3, *, tower=None, **design):
    torch.manual_seed(3)
    extractors = SharedTrunk(tower or tiny_tower(blocks=4, has_layer_scale=True), Design(**design))
    for _ in range(tasks):
        extractors.grow()
        for parameter in extractors.parameters_of(-1):
            torch.nn.init.normal_(parameter, std=0.2)
    return extractors


DESIGNS = [
    {"head": head, "levels": levels, "site": site, "last_blocks": k}
    for head, levels in (("levels", (2, 3, 4)), ("levels", (1, 3)), ("final", ()))
    for site in ("mlp", "attention", "both")
    for k in (1, 2, 3)
]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda d: "-".join(map(str, d.values())))
def test_all_tasks_at_once_equal_the_loop_over_tasks(design):
    extractors = made(**design)
    for split in {False, extractors.base.can_split}:
        trunk = extractors.base.trunk(tiny_pixels(5), split=split)
        naive, shared = extractors.naive(trunk), extractors.all(trunk)
        assert shared.shape == (5, extractors.frozen_features + 3 * extractors.own_features)
        assert (naive - shared).abs().max() <= 1e-5
        assert torch.equal(
            extractors.all(trunk, 2), shared[:, : -extractors.own_features]
        ) or torch.allclose(
            extractors.all(trunk, 2), shared[:, : -extractors.own_features], atol=1e-5
        )


def test_tasks_differ_from_each_other_and_from_the_frozen_backbone():
    extractors = made(2, levels=(2, 4), last_blocks=2)
    trunk = extractors.base.trunk(tiny_pixels())
    plain, _ = extractors.base.features(trunk)
    features = extractors.all(trunk)
    f0, f1 = extractors.frozen_features, extractors.own_features
    first, second = features[:, f0 : f0 + f1], features[:, f0 + f1 :]
    assert torch.equal(features[:, :f0], plain[:, :f0])
    assert (first - second).abs().max() > 0.01
    assert (first - plain[:, f0:]).abs().max() > 0.01


def test_a_new_extractor_is_the_frozen_backbone():
    extractors = made(0, levels=(2, 4), last_blocks=2)
    extractors.grow()
    trunk = extractors.base.trunk(tiny_pixels())
    plain, _ = extractors.base.features(trunk)
    assert torch.allclose(extractors.all(trunk), plain, atol=1e-6)


def test_only_the_asked_extractor_learns():
    extractors = made(2, levels=(4,), last_blocks=1)
    extractors.one(1, extractors.base.trunk(tiny_pixels())).sum().backward()
    assert all(p.grad is not None for p in extractors.parameters_of(1))
    assert all(p.grad is None for p in extractors.parameters_of(0))
    assert all(p.grad is None for p in extractors.base.tower.parameters())


def test_an_extractor_comes_back_as_it_was():
    extractors = made(2, levels=(2, 4), last_blocks=2, site="both")
    other = made(0, levels=(2, 4), last_blocks=2, site="both")
    for task in range(2):
        other.load(extractors.state_of(task), "here")
    trunk = extractors.base.trunk(tiny_pixels())
    assert torch.equal(extractors.all(trunk), other.all(trunk))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.pop("4.mlp.lora_A"),
        lambda state: state.update({"4.mlp.lora_A": torch.zeros(2, 2)}),
        lambda state: state.update({"more": torch.zeros(1)}),
        lambda state: state["4.mlp.lora_A"].fill_(float("nan")),
    ],
)
def test_tensors_of_another_design_are_refused(spoil):
    extractors = made(1, levels=(4,), last_blocks=1)
    state = extractors.state_of(0)
    spoil(state)
    with pytest.raises(AttributorError, match="here: "):
        made(0, levels=(4,), last_blocks=1).load(state, "here")


def test_a_level_that_the_tower_has_not_is_refused():
    with pytest.raises(ConfigError, match="level 9"):
        made(0, levels=(9,))
