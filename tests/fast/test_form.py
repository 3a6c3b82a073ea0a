"""The fast form: close to the file as it is, alone or in a batch, for every kind of detector."""

from collections import Counter

import numpy as np
import onnx
import pytest

import fakescan.fast.form as form
from fakescan import runtime
from fakescan.detector import Detector
from fakescan.errors import ConfigError
from fakescan.export.graph import Form
from fakescan.fast.file import MICROSOFT, read_graph
from fakescan.fast.pattern import Finder
from fakescan.fast.ranges import Range
from fakescan.fast.store import kept_form
from fakescan.session import OnnxSession
from tiny import write_tiny
from towers import KINDS, loud_model, tiny_model

RUNTIME = runtime.version()


def crops(count=12):
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)


def both(path):
    """The file as it is, and its fast form."""
    return [OnnxSession(path, device="cpu", arithmetic=how) for how in ("stored", "fast")]


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("name", KINDS)
def test_logits_stay_close_for_every_kind_of_tower(write, name, precision):
    stored, fast = both(write(KINDS[name](), precision))
    before, after = stored.logits(crops()), fast.logits(crops())
    assert 0 < np.abs(after - before).max() < 0.2 * before.std()


@pytest.mark.parametrize("site", ["mlp", "attention", "both"])
def test_experts_read_what_they_read_before(write, site):
    stored, fast = both(write(tiny_model(site=site, gate="dense")))
    before, after = stored.logits(crops()), fast.logits(crops())
    assert 0 < np.abs(after - before).max() < 0.2 * before.std()


@pytest.mark.parametrize(
    "options",
    [
        Form(opset=21, has_explanation=True),
        Form(has_explanation=True),
        Form(has_preprocessing=True, has_explanation=True, opset=18),
    ],
)
@pytest.mark.parametrize("head", ["levels", "final"])
def test_every_form_of_a_file_has_a_fast_form_with_the_same_outputs(write, options, head):
    stored, fast = both(write(tiny_model(head=head), form=options))
    assert outputs(fast) == outputs(stored)
    detail, before = fast.details(crops()[0]), stored.details(crops()[0])
    assert detail.logit == pytest.approx(fast.logits(crops()[:1])[0], abs=1e-5)
    spread = np.abs(before.patch_logit).max()
    assert np.abs(detail.patch_logit - before.patch_logit).max() < 0.2 * spread


def outputs(session):
    return [(o.name, o.type, o.shape) for o in session._session.get_outputs()]


def test_a_glaring_neighbour_does_not_change_a_score(write):
    _, fast = both(write())
    alone = np.concatenate([fast.logits(crops()[i : i + 1]) for i in range(12)])
    white = np.full_like(crops(), 255)
    beside = fast.logits(np.stack([crops(), white], axis=1).reshape(-1, 16, 16, 3))[::2]
    np.testing.assert_array_equal(beside, alone)


def test_loud_channels_do_not_drown_the_others(write, monkeypatch, cache_folder):
    path = write(loud_model())
    stored, fast = both(path)
    before = stored.logits(crops())
    error = np.abs(fast.logits(crops()) - before).max()
    monkeypatch.setenv("FAKESCAN_CACHE_DIR", str(cache_folder / "other"))
    monkeypatch.setattr(form, "rotate", lambda _: None)
    drowned = np.abs(both(path)[1].logits(crops()) - before).max()
    assert error < 0.2 * before.std()
    assert drowned > 3 * error


def test_the_blocks_multiply_in_integers_and_mix_in_one_node(write):
    path = write()
    _, fast = both(path)
    made = onnx.load_from_string(kept_form(fast.sha256, RUNTIME))
    kinds = [(node.domain, node.op_type) for node in made.graph.node]
    assert kinds.count((MICROSOFT, "MultiHeadAttention")) == 2
    # q, k, v, c_fc and c_proj; out_proj of the first blocks stays in float32
    assert kinds.count((MICROSOFT, "DynamicQuantizeMatMul")) == 5 * 2
    assert made.metadata_props == onnx.load(path).metadata_props
    assert made.opset_import[0] == onnx.load(path).opset_import[0]


def test_evened_values_change_nothing_behind_attention(write):
    graph = read_graph(write().read_bytes())
    random = np.random.default_rng(0)
    for block in Finder(graph).blocks():
        before, width = block.out_proj, len(block.out_proj.bias)
        found = Range(*np.sort(random.normal(size=(2, width)).astype(np.float32), axis=0))
        even = form._evened(block, found, graph.uses())
        x = random.normal(size=(5, width))
        weights = random.dirichlet(np.ones(5), size=5)
        gave = [
            weights @ (x @ b.in_proj.matrix + b.in_proj.bias)[:, 2 * width :] @ b.out_proj.matrix
            + b.out_proj.bias
            for b in (block, even)
        ]
        np.testing.assert_allclose(gave[1], gave[0], rtol=1e-4, atol=1e-5)
        assert np.abs(even.out_proj.matrix - before.matrix).max() > 0.01
    uses = Counter({block.attention.v: 2})
    assert form._evened(block, found, uses) is block


def test_an_explained_last_block_keeps_the_weights_that_explain_it(write):
    _, fast = both(write(tiny_model(head="final"), form=Form(has_explanation=True)))
    made = onnx.load_from_string(kept_form(fast.sha256, RUNTIME))
    kinds = [node.op_type for node in made.graph.node]
    assert kinds.count("MultiHeadAttention") == 1


@pytest.mark.parametrize("precision", ["fp16", "int8-dynamic", "int8-static"])
def test_a_file_that_is_rounded_otherwise_is_refused(write, precision):
    path = write(precision=precision)
    with pytest.raises(ConfigError, match=f"the file is {precision}; it is made of int8 and fp32"):
        OnnxSession(path, device="cpu", arithmetic="fast")


def test_a_detector_without_a_tower_is_refused(tmp_path):
    path = write_tiny(tmp_path / "tiny.onnx")
    with pytest.raises(ConfigError, match="fast cannot be used: no transformer blocks"):
        OnnxSession(path, device="cpu", arithmetic="fast")


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"arithmetic": "faster"}, "arithmetic: 'faster'; known: stored, fast"),
        ({"arithmetic": "fast", "device": "cuda"}, "for the CPU only; use --device cpu"),
    ],
)
def test_a_wrong_choice_is_one_clear_line(write, wanted, reason):
    with pytest.raises(ConfigError, match=reason):
        OnnxSession(write(), **wanted)


@pytest.mark.parametrize(
    ("precision", "arithmetic"),
    [("fp32", "float32"), ("int8", "float32"), ("fp16", "float16"), ("int8-static", "int8-static")],
)
def test_a_session_says_what_it_multiplies_in(write, precision, arithmetic):
    session = OnnxSession(write(precision=precision), device="cpu")
    assert (session.arithmetic, session.chosen) == (arithmetic, "stored")
    assert "+" not in session.fingerprint


def test_the_fast_form_is_part_of_the_fingerprint(write):
    stored, fast = both(write())
    assert fast.arithmetic == f"int8-fast-{form.VERSION}"
    assert fast.fingerprint == f"{stored.fingerprint}+{fast.arithmetic}"
    assert fast.chosen == "fast"


def test_the_public_detector_scores_with_it_too(write):
    path = write()
    stored, fast = (Detector(path, device="cpu", arithmetic=how) for how in ("stored", "fast"))
    assert fast.fingerprint == f"{stored.fingerprint}+int8-fast-{form.VERSION}"
    (before,), (after,) = (list(d.score([crops()[0]])) for d in (stored, fast))
    assert after.detector == fast.fingerprint
    assert 0 < abs(after.logit - before.logit) < 0.5
