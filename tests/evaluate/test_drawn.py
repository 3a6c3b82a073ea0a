"""Groups are drawn whole, within sources and labels."""

from pathlib import Path

import numpy as np

from fakescan.data.samples import Sample
from fakescan.evaluate.benchmark import ScoreTable, evaluate_by_source
from fakescan.evaluate.drawn import BLOCK, Drawn
from fakescan.evaluate.intervals import resample
from fakescan.evaluate.pairing import Pairing


def sample(key, label, source, **more):
    return Sample(path=Path(key), key=key, label=label, source=source, **more)


def weights(samples, resamples=200):
    drawn = Drawn.draw(samples, resamples)
    places = np.arange(len(samples))
    return np.vstack([drawn.weights(block, places) for block in range(drawn.blocks)])


def test_both_members_of_a_pair_are_drawn_as_often():
    samples = [
        sample(f"{label}{i}", label, "pairs", pair=f"p{i}") for i in range(10) for label in (0, 1)
    ]
    found = weights(samples)
    assert found.shape == (201, 20)
    assert (found[0] == 1).all()
    assert (found[:, ::2] == found[:, 1::2]).all()
    assert (found.sum(axis=1) == 20).all()
    assert found[1:].std(axis=0).min() > 0


def test_what_was_derived_from_one_image_is_drawn_with_it():
    samples = [sample(f"r{i}", 0, "reals") for i in range(8)]
    samples += [sample(f"f{i}{j}", 1, "sd", derived_from=f"r{i}") for i in range(4) for j in "ab"]
    found = weights(samples)
    for i in range(4):
        assert (found[:, [8 + 2 * i, 9 + 2 * i]] == found[:, [i]]).all()
    assert (found[:, 8:].sum(axis=1) == 8).all()  # each stratum keeps its size
    assert (found[:, :8].sum(axis=1) == 8).all()


def test_a_mixture_that_is_there_once_is_not_taken_for_certain():
    samples = [sample(f"r{i}", 0, "reals") for i in range(6)]
    samples += [sample("a", 1, "sd", derived_from="r0")]
    found = weights(samples)
    assert found[1:, 6].std() > 0


def test_images_that_share_nothing_are_drawn_one_by_one():
    samples = [sample(str(i), int(i > 6), "ab"[i % 2]) for i in range(14)]
    strata = np.unique([f"{s.label} {s.source}" for s in samples], return_inverse=True)[1]
    assert np.array_equal(weights(samples)[1:], resample(strata, resamples=200))


def test_blocks_cover_every_resample():
    drawn = Drawn.draw([sample(str(i), i % 2, "s") for i in range(4)], 2 * BLOCK)
    sizes = [len(drawn.weights(block, np.array([0]))) for block in range(drawn.blocks)]
    assert sizes == [BLOCK, BLOCK, 1]


def test_pairs_whose_scores_move_together_have_a_wider_interval_when_known():
    rng = np.random.default_rng(0)
    groups = 12
    samples, alone, logits = [], [], []
    for i in range(groups):
        shift = rng.normal() * 2
        for j in range(6):
            key = f"f{i}-{j}"
            samples.append(sample(key, 1, "sd", derived_from=f"prompt{i}"))
            alone.append(sample(key, 1, "sd"))
            logits.append(shift + 1)
    for i in range(60):
        real = sample(f"r{i}", 0, "reals")
        samples.append(real)
        alone.append(real)
        logits.append(rng.normal())
    widths = []
    for chosen in (samples, alone):
        table = ScoreTable(tuple(chosen), np.array(logits))
        auc = evaluate_by_source(table, Pairing()).mean.auc
        widths.append(auc.high - auc.low)
    assert widths[0] > 1.5 * widths[1]
