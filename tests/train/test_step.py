"""One step's gradients, the rate, and the probe."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional

from fakescan.errors import ConfigError
from fakescan.model.head import Head
from fakescan.train.loop import learning_rate
from fakescan.train.parallel import Processes
from fakescan.train.probe import check_memory, fit_head, moments, restandardise, thin
from fakescan.train.settings import TrainConfig
from fakescan.train.step import LossScale, Part, StepComputer
from towers import tiny_model, tiny_pixels


def gradients(model):
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def parts_of(model, labels, cuts):
    trunk = model.trunk(tiny_pixels(len(labels)))
    edges = [0, *cuts, len(labels)]
    for a, b in pairwise(edges):
        part = type(trunk)(*(None if x is None else x[a:b] for x in trunk))
        yield Part(part, labels[a:b])


@pytest.mark.parametrize("site", ["mlp", "both"])
def test_a_step_is_bce_plus_lambda_times_load_balance(site):
    model = tiny_model(site=site, load_balance=0.3)
    labels = torch.tensor([0.0, 1, 1, 0])
    computer = StepComputer(model, Processes(), "fp32", LossScale())
    found = computer.gradients(parts_of(model, labels, []), 4)
    summed = gradients(model)
    model.zero_grad()
    output = model(tiny_pixels(4))
    bce = functional.binary_cross_entropy_with_logits(output.logit, labels)
    (bce + 0.3 * output.load_balance()).backward()
    assert found.bce == pytest.approx(bce.item(), rel=1e-5)
    assert found.load_balance == pytest.approx(output.load_balance().item(), rel=1e-5)
    for name, value in gradients(model).items():
        torch.testing.assert_close(summed[name], value, atol=1e-6, rtol=1e-4)


def test_parts_sum_to_the_whole_step():
    model = tiny_model(experts="shared")
    labels = torch.tensor([0.0, 1, 1, 0, 1])
    computer = StepComputer(model, Processes(), "fp32", LossScale())
    whole = computer.gradients(parts_of(model, labels, []), 5)
    first = gradients(model)
    model.zero_grad()
    cut = computer.gradients((p for p in [*parts_of(model, labels, [1, 3]), None]), 5)
    assert cut.bce == pytest.approx(whole.bce, rel=1e-6)
    for name, value in gradients(model).items():
        torch.testing.assert_close(first[name], value, atol=1e-6, rtol=1e-4)


def test_usage_and_load_balance_are_those_of_all_parts():
    model = tiny_model()
    labels = torch.tensor([0.0, 1, 1, 0, 1])
    computer = StepComputer(model, Processes(), "fp32", LossScale())
    whole = computer.gradients(parts_of(model, labels, []), 5)
    cut = computer.gradients(parts_of(model, labels, [2]), 5)
    assert cut.usage == whole.usage
    assert cut.load_balance == pytest.approx(whole.load_balance, rel=1e-6)


def test_a_loss_scale_halves_on_overflow_and_doubles_in_time(monkeypatch):
    monkeypatch.setattr("fakescan.train.step.GROWTH_INTERVAL", 2)
    scale = LossScale(8.0)
    gradient = torch.tensor([16.0])
    assert scale.undo([gradient])
    assert gradient.item() == 2.0
    assert not scale.undo([torch.tensor([float("inf")])])
    assert scale.scale == 4.0
    assert scale.undo([gradient])
    assert scale.undo([gradient])
    assert scale.scale == 8.0


def test_the_rate_rises_and_falls():
    config = TrainConfig(lr=1.0, warmup=0.1)
    rates = [learning_rate(step, 100, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert np.argmax(rates) == 9
    assert 0 < rates[-1] < 0.01
    constant = replace(config, schedule="constant")
    assert learning_rate(99, 100, constant) == 1.0


@pytest.fixture
def table():
    """Features of two classes that overlap, on very different scales."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    features = rng.normal(labels[:, None] * [1.0, 0.0, -0.5], 1.0) * [1.0, 100.0, 0.01] + [5, 0, 0]
    return features.astype(np.float32), labels, rng.uniform(0.5, 1.5, 400)


def test_the_probe_is_where_the_gradient_vanishes(table):
    features, labels, weights = table
    weights = weights / weights.sum()
    head = Head(3)
    bce = fit_head(head, features, labels, weights, l2=0.01)
    x, y = torch.from_numpy(features), torch.from_numpy(labels).float()
    losses = functional.binary_cross_entropy_with_logits(head(x), y, reduction="none")
    loss = (torch.from_numpy(weights).float() * losses).sum()
    assert bce == pytest.approx(loss.item(), rel=1e-4)
    (loss + 0.005 * head.weight.square().sum()).backward()
    assert head.weight.grad.abs().max() < 1e-4
    assert abs(head.bias.grad) < 1e-4


def test_the_probe_is_the_same_every_time(table):
    features, labels, weights = table
    heads = [Head(3), Head(3)]
    for head in heads:
        fit_head(head, features, labels, weights / weights.sum(), l2=1e-3)
    assert torch.equal(heads[0].weight, heads[1].weight)


def test_other_statistics_leave_the_function_alone(table):
    features, _, weights = table
    head = Head(3)
    with torch.no_grad():
        head.bias.fill_(0.7)
    x = torch.from_numpy(features)
    before = head(x)
    restandardise(head, moments(features, weights / weights.sum()))
    torch.testing.assert_close(head(x), before, atol=1e-4, rtol=1e-4)
    assert head.mean.abs().sum() > 0


def test_a_probe_beyond_memory_is_refused():
    check_memory(100, 10)
    with pytest.raises(ConfigError, match=r"lower probe\.max_rows"):
        check_memory(10**9, 10**6)


def test_thinning_spreads_evenly():
    rows = [(i, 0) for i in range(10)]
    assert thin(rows, 20) == rows
    assert [i for i, _ in thin(rows, 5)] == [0, 2, 4, 6, 8]
