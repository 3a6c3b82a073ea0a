"""Mixtures of low-rank experts: what they compute, how they start, how balance is counted."""

import pytest
import torch

from fakescan.errors import ConfigError
from fakescan.model.mole import Mixture, MoLEConfig, dispatch, load_balance

WIDTH = 12


def trained(**settings):
    torch.manual_seed(0)
    mixture = Mixture(WIDTH, MoLEConfig(**settings))
    with torch.no_grad():
        mixture.lora_B.normal_()
        if mixture.router is not None:
            mixture.router.normal_()
    return mixture


def written_out(mixture, x):
    """y = sum_shared s B A x + p_k s_k B_k A_k x, token by token, expert by expert."""
    config = mixture.config
    out = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for n in range(x.shape[1]):
            token, start = x[b, n], 0
            p = None if mixture.router is None else (mixture.router @ token).softmax(-1)
            for expert, rank in enumerate(config.ranks):
                A, B = mixture.lora_A[start : start + rank], mixture.lora_B[:, start : start + rank]
                start += rank
                scale = 1 if config.alpha is None else config.alpha / rank
                update = scale * B @ (A @ token)
                separate = expert - config.shared_count
                if separate < 0:
                    out[b, n] += update
                elif config.gate == "dense" or int(p.argmax()) == separate:
                    out[b, n] += p[separate] * update
    return out


@pytest.mark.parametrize("gate", ["top1", "dense"])
@pytest.mark.parametrize("experts", ["both", "shared", "separate"])
@pytest.mark.parametrize(("alpha", "router_width"), [(None, None), (6.0, None), (None, 5)])
def test_a_mixture_equals_the_written_out_sum(gate, experts, alpha, router_width):
    mixture = trained(gate=gate, experts=experts, alpha=alpha, router_width=router_width)
    x = torch.randn(2, 7, WIDTH)
    torch.testing.assert_close(mixture(x).update, written_out(mixture, x), atol=1e-5, rtol=1e-5)


def test_a_token_sent_to_a_column_without_expert_gets_the_shared_update_only():
    mixture = trained(router_width=4)
    x = torch.randn(1, 6, WIDTH)
    with torch.no_grad():
        mixture.router.zero_()
        mixture.router[3] = 100 * x[0, 0]
    update, logits = mixture(x)
    assert logits[0, 0].argmax() == 3
    shared = x[0, 0] @ mixture.lora_A[:8].T @ mixture.lora_B[:, :8].T
    torch.testing.assert_close(update[0, 0], shared)


def test_without_shared_expert_such_a_token_gets_nothing():
    mixture = trained(experts="separate", router_width=4)
    x = torch.ones(1, 1, WIDTH)
    with torch.no_grad():
        mixture.router[3] = 100.0
    assert (mixture(x).update == 0).all()


@pytest.mark.parametrize("width", [1, 3, 4])
def test_load_balance_is_one_when_all_are_used_alike(width):
    logits = torch.eye(width).repeat(5, 1) * 0.5
    assert load_balance(logits).item() == pytest.approx(1.0, abs=1e-6)


def test_load_balance_is_the_router_width_when_one_takes_all():
    logits = torch.zeros(10, 3)
    logits[:, 1] = 100
    assert load_balance(logits).item() == pytest.approx(3.0)


def test_only_the_mean_probability_carries_a_gradient():
    logits = torch.randn(4, 6, 3, requires_grad=True)
    shares, chances = dispatch(logits)
    assert not shares.requires_grad
    assert chances.requires_grad
    assert shares.sum().item() == pytest.approx(1)


@pytest.mark.parametrize(
    "wrong",
    [{"shared_rank": 0}, {"separate_ranks": ()}, {"router_width": 2}, {"load_balance": -1.0}],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError):
        MoLEConfig(**wrong)
