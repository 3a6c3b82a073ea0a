"""Which images an epoch holds, how often, and in which order."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fakescan.data.samples import Sample
from fakescan.errors import DatasetError
from fakescan.train.sampling import (
    batches,
    epoch_order,
    image_weights,
    share_of,
    source_weights,
    stratify,
)


def sample(name, label, source, pair=""):
    return Sample(path=Path(name), key=name, label=label, source=source, pair=pair)


@pytest.fixture
def samples():
    """A large and a small source of reals, one of fakes, and pairs."""
    return [
        *(sample(f"large{i}", 0, "large") for i in range(100)),
        *(sample(f"small{i}", 0, "small") for i in range(20)),
        *(sample(f"fake{i}", 1, "f") for i in range(40)),
        *(sample(f"p{i}/{k}", k, "large", f"p{i}") for i in range(30) for k in (0, 1)),
    ]


@pytest.fixture
def strata(samples):
    return stratify(samples, range(len(samples)), source_cap=60, pair_weight=0.5)


def test_pairs_stay_together_and_weigh_half_of_the_rest(samples, strata):
    weights = image_weights(samples, strata)
    is_pair = np.array([bool(s.pair) for s in samples])
    assert weights[is_pair].sum() / weights[~is_pair].sum() == pytest.approx(0.5)
    for unit in strata.units[2]:
        assert [samples[i].label for i in unit.samples] == [0, 1]
        assert len({samples[i].pair for i in unit.samples}) == 1


def test_a_real_with_several_fakes_is_in_a_unit_with_each(samples):
    more = [*samples, *(sample(f"p{i}/2", 1, "large", f"p{i}") for i in range(30))]
    strata = stratify(more, range(len(more)), source_cap=60, pair_weight=0.5)
    assert len(strata.units[2]) == 60
    weights = image_weights(more, strata)
    by_kind = {
        k: sum(weights[i] for i, s in enumerate(more) if s.key.endswith(f"/{k}")) for k in "012"
    }
    assert by_kind["0"] == pytest.approx(by_kind["1"] + by_kind["2"])
    assert by_kind["1"] == pytest.approx(by_kind["2"])
    assert sum(by_kind.values()) == pytest.approx(1 / 3)


def test_classes_weigh_the_same_and_a_source_at_most_its_cap(samples, strata):
    weights = image_weights(samples, strata)
    labels = np.array([s.label for s in samples])
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())
    large, small = weights[:100].sum(), weights[100:120].sum()
    assert large / small == pytest.approx(60 / 20)


def test_the_long_run_of_epochs_follows_the_weights(samples, strata):
    counts = Counter(i for e in range(1000) for u in epoch_order(strata, 7, e) for i in u.samples)
    found = np.array([counts[i] for i in range(len(samples))], float)
    np.testing.assert_allclose(found / found.sum(), image_weights(samples, strata), rtol=0.2)


def test_within_an_epoch_no_unit_is_seen_more_than_its_share_rounded_up(samples, strata):
    order = epoch_order(strata, 0, 0)
    counts = Counter(u.samples for u in order if len(u.samples) == 1)
    reals = sum(samples[u[0]].label == 0 for u in counts.elements())
    assert max(n for u, n in counts.items() if samples[u[0]].source == "large") <= np.ceil(
        reals * 60 / 80 / 100
    )


def test_an_order_depends_on_seed_and_epoch_alone(strata):
    assert epoch_order(strata, 1, 2) == epoch_order(strata, 1, 2)
    assert epoch_order(strata, 1, 2) != epoch_order(strata, 1, 3)
    assert epoch_order(strata, 1, 2) != epoch_order(strata, 2, 2)


def test_every_batch_has_the_same_mix(samples, strata):
    steps = batches(epoch_order(strata, 0, 0), 20)
    for units in steps:
        singles = [samples[u.samples[0]].label for u in units if len(u.samples) == 1]
        assert abs(sum(singles) - len(singles) / 2) <= 1
        assert abs((len(units) - len(singles)) - len(units) * strata.pair_share) <= 1


def test_steps_are_of_nearly_equal_size_and_hold_everything(strata):
    order = epoch_order(strata, 0, 0)
    steps = batches(order, 26)
    assert [u for units in steps for u in units] == order
    sizes = [len(units) for units in steps]
    assert max(sizes) <= 26
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("world", "parts"), [(1, 1), (2, 1), (3, 4), (8, 3)])
def test_processes_and_parts_share_a_step_without_loss(strata, world, parts):
    units = epoch_order(strata, 0, 0)[:7]
    found = [
        unit
        for rank in range(world)
        for part in share_of(units, rank, world, parts)
        for unit in part
    ]
    assert sorted(u.samples for u in found) == sorted(u.samples for u in units)


def test_without_other_fakes_only_the_pairs_are_used():
    samples = [
        *(sample(f"r{i}", 0, "r") for i in range(10)),
        *(sample(f"p{k}", k, "r", "p") for k in (0, 1)),
    ]
    strata = stratify(samples, range(12), 60, 0.5)
    assert {u.samples for u in epoch_order(strata, 0, 0)} == {(10, 11)}
    assert image_weights(samples, strata).tolist() == [0.0] * 10 + [0.5, 0.5]


def test_a_lone_member_of_a_pair_is_left_out():
    samples = [sample("r", 0, "a"), sample("f", 1, "b"), sample("p", 1, "a", "p")]
    strata = stratify(samples, range(3), 60, 0.5)
    assert {u.samples for u in epoch_order(strata, 0, 0)} == {(0,), (1,)}


def test_one_class_alone_is_refused():
    with pytest.raises(DatasetError, match="no fake image"):
        stratify([sample("r", 0, "a")], [0], 60, 0.5)


def test_source_weights_balance_classes(samples):
    weights = source_weights(samples, 60)
    labels = np.array([s.label for s in samples])
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())
