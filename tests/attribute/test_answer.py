"""Logits -> names with probabilities, calibrated and rejected where unknown."""

import numpy as np
import pytest

from fakescan.attribute.answer import ClassRecord, Rules, probabilities, read
from fakescan.attribute.fitted import temperature, unknown_below

CLASSES = (
    ClassRecord(task="a", kind="real", name="real", images=5),
    ClassRecord(task="a", kind="fake", name="gan", images=5),
    ClassRecord(task="b", kind="fake", name="dit", images=5),
)
REAL = np.array([True, False, False])


def test_a_name_never_comes_without_its_probability_and_the_others():
    (said,) = read(np.log([[0.2, 0.7, 0.1]]), CLASSES, Rules())
    assert (said.verdict, said.generator) == ("fake", "gan")
    assert said.fake_score == pytest.approx(0.8)
    assert said.generator_score == pytest.approx(0.7)
    assert said.margin == pytest.approx(0.6)
    assert said.ranked == (("gan", pytest.approx(0.7)), ("dit", pytest.approx(0.1)))


def test_a_real_has_no_generator_however_likely_one_is():
    (said,) = read(np.log([[0.55, 0.4, 0.05]]), CLASSES, Rules())
    assert (said.verdict, said.generator) == ("real", None)
    assert said.generator_score == pytest.approx(0.4)


def test_fakes_that_no_generator_explains_are_unknown():
    rows = np.log([[0.2, 0.41, 0.39], [0.1, 0.5, 0.4]])
    first, second = read(rows, CLASSES, Rules(unknown_below=0.5))
    assert (first.generator, second.generator) == ("unknown", "gan")


def test_one_known_generator_can_be_unknown_too():
    said = read(np.log([[0.4, 0.6]]), CLASSES[:2], Rules(unknown_below=0.9))
    assert said[0].generator == "unknown"
    assert said[0].margin == pytest.approx(0.6)


def test_probabilities_sum_to_one_at_any_size_of_logits():
    chances = probabilities(np.array([[1000.0, 0.0, -1000.0], [1.0, 2.0, 3.0]]), 1.0)
    assert chances.sum(axis=1) == pytest.approx([1, 1])
    assert np.isfinite(chances).all()


def test_the_temperature_undoes_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3)) * 2
    chances = probabilities(logits, 1.0)
    labels = np.array([rng.choice(3, p=row) for row in chances])
    assert temperature(logits * 3, labels) == pytest.approx(3, rel=0.1)
    assert temperature(logits, labels) == pytest.approx(1, rel=0.1)
    assert temperature(np.empty((0, 3)), np.empty(0, int)) == 1.0


def test_a_few_images_that_are_all_right_are_no_proof_of_certainty():
    logits = 5 * np.eye(3)[[0, 1, 2, 1]]
    heat = temperature(logits, np.array([0, 1, 2, 1]))
    assert probabilities(logits, heat).max(axis=1) == pytest.approx([5 / 6] * 4, abs=0.02)


def test_the_threshold_rejects_the_stated_share_of_known_generators():
    rng = np.random.default_rng(1)
    best = rng.uniform(0.55, 1.0, 1000)
    chances = np.stack([(1 - best) / 2, best, (1 - best) / 2], axis=1)
    labels = np.ones(1000, dtype=int)
    threshold = unknown_below(chances, labels, REAL, 0.05)
    said = read(np.log(chances), CLASSES, Rules(unknown_below=threshold))
    assert sum(s.generator == "unknown" for s in said) == pytest.approx(50, abs=1)
    assert unknown_below(chances, labels, REAL, 0.0) == 0.0
    assert unknown_below(chances[:0], labels[:0], REAL, 0.05) == 0.0
