"""What each part of the fast form does for the detector that comes with the package."""

import numpy as np
import pytest

import fakescan.fast.form as form
from fakescan import weights
from fakescan.fast.ranges import photographs
from fakescan.image import normalise
from fakescan.metadata import INPUT, OUTPUT_LOGIT
from fakescan.runtime import CPU, onnxruntime, session_options
from fakescan.session import OnnxSession


def opened(model):
    return onnxruntime().InferenceSession(model, session_options(2), providers=[CPU])


@pytest.mark.slow
def test_logits_drift_less_with_turned_tokens_and_a_scale_for_each_token(monkeypatch):
    path = weights.resolve(None)
    model, preprocess = path.read_bytes(), OnnxSession(path, device="cpu").metadata.preprocess
    squares = [normalise(s[np.newaxis], preprocess) for s in photographs(preprocess)]

    def logits(made):
        session = opened(made)
        return np.array([session.run([OUTPUT_LOGIT], {INPUT: s})[0][0] for s in squares])

    stored = logits(model)

    def drift():
        made = form.fast_form(model, preprocess, opened)
        return float(np.abs(logits(made) - stored).mean())

    found = drift()
    assert found < 0.1
    for name, without in (("rotate", lambda _: None), ("LEAST_SCALE", 1e6)):
        with monkeypatch.context() as changed:
            changed.setattr(form, name, without)
            assert drift() > 1.2 * found, name
