"""The kinds of fakes that a real is remade as."""

import numpy as np
import pytest
import torch

from fakescan.cli.data import PairKind
from fakescan.data.autoencoder import load_autoencoder
from fakescan.data.remakes import KINDS, Remaker

RANDOM = tuple(kind for kind in KINDS if kind not in ("round-trip", "twice"))


@pytest.fixture(scope="module")
def network(autoencoder_folder):
    return load_autoencoder(autoencoder_folder)


@pytest.fixture(scope="module")
def real(photo):
    pixels = np.asarray(photo(64, 48, seed=5)).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255


def made(real, network, kind, seed=0):
    return Remaker(real, network).make(kind, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fake_has_the_reals_shape_and_range_and_differs(kind, real, network):
    fake = made(real, network, kind)
    assert fake.shape == real.shape
    assert float(fake.min()) >= 0
    assert float(fake.max()) <= 1
    assert float((fake - real).abs().mean()) > 1e-3


@pytest.mark.parametrize("kind", RANDOM)
def test_what_is_random_depends_on_the_seed_alone(kind, real, network):
    assert torch.equal(made(real, network, kind), made(real, network, kind))
    others = [made(real, network, kind, seed=seed) for seed in range(1, 6)]
    assert any(not torch.equal(made(real, network, kind), other) for other in others)


def test_a_masked_fake_is_the_real_in_one_part_and_its_round_trip_in_another(real, network):
    fake = made(real, network, "masked")
    trip = made(real, network, "round-trip")
    share = ((fake - real) / (trip - real))[(trip - real).abs() > 0.05]  # of the round trip
    assert float((share < 0.1).float().mean()) > 0.1
    assert float((share > 0.9).float().mean()) > 0.1


def test_upsampling_leaves_a_period_and_keeps_the_picture(real, network):
    """Neighbouring places of a cell differ in the mean, which a photograph's never do."""
    flat = torch.full((1, 3, 64, 64), 0.5)
    found = []
    for seed in range(12):
        fake = Remaker(flat, network).make("upsampling", np.random.default_rng(seed))
        cells = fake[0].mean(0)[8:-8, 8:-8].reshape(12, 4, 12, 4).mean((0, 2))  # (4, 4)
        found.append(float(cells.std()))
        assert float((fake - flat).abs().max()) < 0.2
    assert max(found) > 1e-3
    assert float((made(real, network, "upsampling") - real).abs().mean()) < 0.08


def test_twice_is_the_round_trip_of_the_round_trip(real, network):
    again = network(made(real, network, "round-trip"))
    torch.testing.assert_close(made(real, network, "twice"), again)


def test_the_command_offers_every_kind():
    assert tuple(PairKind) == KINDS
