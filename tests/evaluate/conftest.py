"""Reports to write and draw: three generators of two families, two conditions, made scores."""

from pathlib import Path

import numpy as np
import pytest

from fakescan.data.samples import Sample
from fakescan.evaluate.benchmark import ScoreTable, evaluate_rows
from fakescan.evaluate.drawn import Drawn
from fakescan.evaluate.evaluation import Condition, Evaluation, Plan, Settings
from fakescan.evaluate.figures import Called
from fakescan.evaluate.properties_auc import properties_auc
from fakescan.evaluate.record import Conditions, Report
from fakescan.perturb import ROBUSTNESS
from fakescan.records import Band, Calibration

SETTINGS = Settings(resamples=30, robustness=True)
SHIFTS = {"gan-a": 2.0, "gan-b": 1.0, "<b>diffusion</b>": 0.5}


def made_samples(count=12):
    """Reals, and fakes of each generator."""
    names = [("cameras", 0, ""), *((name, 1, name) for name in SHIFTS)]
    return [
        Sample(
            path=Path(f"{source}/{label}/{i}"),
            key=f"{source}/{label}/{i}",
            label=label,
            source=source,
            generator=generator,
            family="GAN" if "gan" in generator else "",
        )
        for source, label, generator in names
        for i in range(count)
    ]


def made_evaluation(plan, seed=0, names=("raw", "equalised", *ROBUSTNESS)):
    """An evaluation of normal logits, fakes shifted; later conditions are harder."""
    rng = np.random.default_rng(seed)
    shift = np.array([SHIFTS.get(s.generator, -1.0) for s in plan.samples])
    base = rng.normal(size=len(shift))
    drawn = Drawn.draw(plan.samples, SETTINGS.resamples)
    conditions = {}
    for i, name in enumerate(names):
        table = ScoreTable(plan.samples, base + shift / (1 + 0.2 * i), (("bad.png", "damaged"),))
        called = Called.by_band(table.logits, Calibration(), Band(t_fake=0.8, t_real=0.3))
        conditions[name] = Condition(
            table, called, evaluate_rows(table, plan.comparisons, called, drawn)
        )
    values = rng.normal(size=(len(shift), 3))
    return Evaluation(
        detector=f"made@{seed}",
        t_fake=0.8,
        t_real=0.3,
        is_calibrated=True,
        conditions=conditions,
        properties=properties_auc(conditions["raw"].table, values, plan.comparisons, drawn),
        left_out=conditions["raw"].table.unreadable,
    )


@pytest.fixture(scope="session")
def plan():
    return Plan.make(made_samples())


@pytest.fixture(scope="session")
def report(plan):
    """One detector under every condition."""
    conditions = Conditions(data="<i>data</i>", settings=SETTINGS)
    return Report(conditions, plan, (made_evaluation(plan),))
