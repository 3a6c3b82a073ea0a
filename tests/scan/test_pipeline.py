import hashlib
import math
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fakescan.errors import ConfigError
from fakescan.records import Summary, Verdict
from fakescan.scan.crop import Crop
from fakescan.scan.judge import Judge
from fakescan.scan.pipeline import ScanSettings, scan
from fakescan.session import OnnxSession
from tiny import METADATA


@pytest.fixture(scope="module")
def session(tiny):
    return OnnxSession(tiny)


def run(targets, session, **settings):
    summary = Summary()
    findings = list(scan([str(t) for t in targets], session, ScanSettings(**settings), summary))
    return findings, summary


def test_every_image_becomes_a_finding_with_its_own_score(photos, session):
    findings, summary = run([photos], session, workers=2)
    assert [(Path(f.path).name, f.verdict) for f in findings] == [
        ("broken.png", Verdict.ERROR),
        ("dark.jpg", Verdict.REAL),
        ("grey.png", Verdict.UNCERTAIN),
        ("bright.webp", Verdict.FAKE),
    ]
    assert findings[3].logit == pytest.approx(2.0, abs=0.02)
    assert findings[3].score == pytest.approx(1 / (1 + math.exp(-2 * findings[3].logit)))
    assert {f.detector for f in findings} == {session.fingerprint}
    assert (summary.images, summary.scored, summary.is_complete) == (4, 3, True)
    assert summary.skipped == {"not an image": 1}
    assert summary.elapsed_s > 0


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_findings_do_not_depend_on_batches(photos, session, batch_size):
    assert run([photos], session, batch_size=batch_size)[0] == run([photos], session)[0]


def test_a_threshold_leaves_nothing_uncertain(photos, session):
    findings, _ = run([photos / "grey.png"], session, threshold=0.5)
    assert findings[0].verdict is Verdict.FAKE
    score = findings[0].score
    assert run([photos / "grey.png"], session, threshold=score)[0][0].verdict is Verdict.FAKE


def test_a_missing_target_is_a_finding(photos, session):
    findings, _ = run([photos / "dark.jpg", photos / "gone"], session)
    assert [f.error for f in findings] == [None, "the file is gone"]


def test_hashes_and_thumbnails_reach_the_findings(photos, session):
    findings, _ = run([photos], session, hashes=True, thumbnails=True)
    broken, *others = findings
    assert broken.thumbnail is None
    for finding in findings:
        assert finding.sha256 == hashlib.sha256(Path(finding.path).read_bytes()).hexdigest()
    for finding in others:
        assert finding.thumbnail[8:12] == b"WEBP"
    plain, _ = run([photos], session)
    assert plain == [replace(f, sha256=None, thumbnail=None) for f in findings]


def test_stopping_early_leaves_an_incomplete_summary(photos, session):
    summary = Summary()
    findings = scan([str(photos)], session, ScanSettings(), summary)
    assert len(list(islice(findings, 2))) == 2
    findings.close()
    assert (summary.images, summary.is_complete) == (2, False)


def test_a_file_that_vanishes_after_the_walk_is_a_row(tmp_path, session):
    for i in range(9):
        Image.new("L", (20, 20)).save(tmp_path / f"{i}.png")
    findings = scan([str(tmp_path)], session, ScanSettings(workers=1), Summary())
    next(findings)
    (tmp_path / "8.png").unlink()
    *_, last = findings
    assert (last.verdict, last.error) == (Verdict.ERROR, "the file is gone")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"threshold": 1.5}, "between 0 and 1"),
        ({"batch_size": 0}, "batch_size: must be positive"),
        ({"workers": -1}, "workers: must be positive"),
        ({"timeout_s": 0.0}, "timeout_s: must be positive"),
        ({"max_megapixels": float("nan")}, "max_megapixels: must be positive"),
    ],
)
def test_settings_out_of_range_are_refused(settings, reason):
    with pytest.raises(ConfigError, match=reason):
        ScanSettings(**settings)


def test_a_score_on_the_threshold_is_fake():
    judge = Judge(METADATA, "tiny", 0.5)
    assert judge.scored("a", _crop(), 0.0).verdict is Verdict.FAKE
    assert judge.scored("a", _crop(), -1e-9).verdict is Verdict.REAL


def test_between_the_thresholds_is_uncertain():
    judge = Judge(replace(METADATA), "tiny", None)
    assert judge.scored("a", _crop(), 0.0).verdict is Verdict.UNCERTAIN


@pytest.mark.parametrize("logit", [math.nan, math.inf])
def test_a_logit_that_is_no_number_is_an_error(logit):
    finding = Judge(METADATA, "tiny", None).scored("a", _crop(), logit)
    assert (finding.verdict, finding.score, finding.logit) == (Verdict.ERROR, None, None)


def _crop():
    return Crop(np.zeros((16, 16, 3), np.uint8), 16, 16, "PNG")


def test_provenance_stands_beside_the_score_and_never_moves_it(tmp_path, session):
    recipe = PngInfo()
    recipe.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1")
    image = Image.effect_noise((40, 30), 90)
    image.save(tmp_path / "said.png", pnginfo=recipe)
    image.save(tmp_path / "silent.png")
    (said, silent), _ = run([tmp_path], session)
    assert (said.provenance, silent.provenance) == ("generated", None)
    assert said.provenance_detail == "png: Stable Diffusion parameters"
    off, _ = run([tmp_path], session, provenance="off")
    full, _ = run([tmp_path], session, provenance="full")
    assert full[0].provenance_detail == "png: Stable Diffusion parameters; prompt: a cat"
    assert [f.provenance for f in off] == [None, None]
    logits = {f.logit for f in (said, silent, *off, *full)}
    assert len(logits) == 1  # to the last bit


def test_perturbed_scores_stand_beside_the_score(tmp_path, session):
    edge = Image.new("RGB", (64, 64), "black")
    edge.paste("white", (24, 24, 40, 40))  # all that the detector sees, until it is blurred
    edge.save(tmp_path / "edge.png")
    Image.new("RGB", (64, 64), "black").save(tmp_path / "plain.png")
    names = ("blur:8", "jpeg:75", "resize:0.5", "crop:0.5")
    (found, plain), _ = run([tmp_path], session, perturbations=names, batch_size=3)
    (alone, _), _ = run([tmp_path], session)
    assert replace(found, perturbed=(), stable=None) == alone
    scores = dict(found.perturbed)
    assert tuple(scores) == names
    assert scores["blur:8"] < 0.8 <= scores["jpeg:75"]
    assert (found.stable, plain.stable, alone.stable) == (False, True, None)
    again, _ = run([tmp_path], session, perturbations=("jpeg:75",))
    assert again[0].perturbed == (("jpeg:75", scores["jpeg:75"]),)


@pytest.mark.parametrize("name", ["jpeg", "jpeg:", "jpeg:75.5", "jpeg:0", "blur:nan", "sharpen:1"])
def test_a_perturbation_that_does_not_exist_is_refused(name):
    with pytest.raises(ConfigError, match=name.split(":")[0]):
        ScanSettings(perturbations=(name,))
