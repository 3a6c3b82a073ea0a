"""Figures that come with findings."""

from dataclasses import replace

import numpy as np
import pytest

from fakescan.errors import ConfigError
from fakescan.image import Preprocess
from fakescan.records import Summary, Verdict
from fakescan.scan.baseline import Baseline
from fakescan.scan.cache import ScoreCache, default_path
from fakescan.scan.crop import Extras
from fakescan.scan.decode import Children
from fakescan.scan.pipeline import EXPLAINED, ScanSettings, scan
from fakescan.scan.recall import scorer_of
from fakescan.scan.worker import Job
from fakescan.session import OnnxSession

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def session(tiny):
    return OnnxSession(tiny, device="cpu")


def run(photos, session, baseline=None, cache=None, **settings):
    summary = Summary()
    given = ScanSettings(workers=1, **settings)
    return list(scan([str(photos)], session, given, summary, baseline, cache)), summary


def test_every_finding_with_a_score_can_have_a_figure(photos, session):
    findings, _ = run(photos, session, explain=EXPLAINED)
    assert [f.verdict.value for f in findings] == ["error", "real", "uncertain", "fake"]
    assert [f.figure and f.figure[:8] for f in findings] == [None, PNG, PNG, PNG]


def test_only_the_verdicts_that_were_asked_for_are_explained(photos, session):
    findings, _ = run(photos, session, explain=("fake",))
    assert [bool(f.figure) for f in findings] == [False, False, False, True]


def test_a_figure_changes_nothing_else(photos, session):
    plain, _ = run(photos, session, perturbations=("jpeg:75",))
    explained, _ = run(photos, session, perturbations=("jpeg:75",), explain=EXPLAINED)
    assert [replace(f, figure=None) for f in explained] == plain


def test_what_a_baseline_knows_is_not_explained(photos, session, monkeypatch):
    findings, _ = run(photos, session, hashes=True)
    baseline = Baseline((f.sha256, f.verdict.value) for f in findings if f.score is not None)
    asked = []
    details = session.details
    monkeypatch.setattr(session, "details", lambda crop: asked.append(crop) or details(crop))
    assert [f.verdict for f in run(photos, session, baseline, explain=EXPLAINED)[0]] == ["error"]
    assert asked == []
    run(photos, session, explain=("fake",))
    assert len(asked) == 1


def test_scores_from_the_cache_are_explained_too(photos, session):
    with ScoreCache(default_path(), scorer_of(session)) as cache:
        plain, _ = run(photos, session, cache=cache)
        explained, summary = run(photos, session, cache=cache, explain=EXPLAINED)
    assert summary.cached == 3
    assert [replace(f, figure=None) for f in explained] == plain
    assert sum(f.figure is not None for f in explained) == 3


def test_a_figure_for_an_error_cannot_be_asked_for():
    with pytest.raises(ConfigError, match="explain: 'error'; known: real, uncertain, fake"):
        ScanSettings(explain=(Verdict.ERROR.value,))


def test_the_place_of_the_square_comes_through_the_pipe(photos):
    job = Job(preprocess=Preprocess(image_px=16), extras=Extras(frames=True, thumbnails=True))
    with Children(job) as children:
        for _ in range(2):  # the pipe is read to its end
            crop = children.decode(str(photos / "grey.png"))
            assert crop.frame.box == pytest.approx((12 / 40, 7 / 30, 28 / 40, 23 / 30))
            assert crop.frame.whole.shape == (30, 40, 3)
            assert np.unique(crop.frame.whole).tolist() == [140]
            assert crop.thumbnail[8:12] == b"WEBP"
