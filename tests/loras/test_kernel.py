"""Similarity sees the update, and nothing of how a file happens to write it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakescan.loras.kernel import Kernel, similarities
from fakescan.loras.sketch import Projector
from fakescan.loras.spectrum import spectrum

SHAPES = st.tuples(
    st.integers(1, 8), st.integers(2, 40), st.integers(2, 40), st.integers(0, 2**32 - 1)
)


def product(rank, m, n, seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, rank)).astype("<f4"), rng.standard_normal((rank, n)).astype(
        "<f4"
    )


def alike(first, second, kernel=None):
    return float(similarities([first, second], kernel or Kernel())[0, 1])


def invertible(rank, rng):
    """A gauge: any invertible matrix, well enough conditioned for float32 files."""
    q, _ = np.linalg.qr(rng.standard_normal((rank, rank)))
    p, _ = np.linalg.qr(rng.standard_normal((rank, rank)))
    return q @ np.diag(10 ** rng.uniform(-1.5, 1.5, rank)) @ p


@settings(deadline=None, max_examples=60)
@given(SHAPES)
def test_a_gauge_does_not_matter(shape):
    B, A = product(*shape)
    G = invertible(shape[0], np.random.default_rng(shape[3]))
    turned = spectrum((B @ G).astype("<f4"), (np.linalg.inv(G) @ A).astype("<f4"), 1.0)
    assert alike(spectrum(B, A, 1.0), turned) > 0.999


@settings(deadline=None, max_examples=40)
@given(SHAPES, st.floats(1e-6, 1e6))
def test_a_positive_scale_does_not_matter_but_for_the_strength(shape, scale):
    B, A = product(*shape)
    plain, scaled = spectrum(B, A, 1.0), spectrum(B, A, scale)
    assert alike(plain, scaled) == pytest.approx(1.0, abs=1e-6)
    assert scaled.norm == pytest.approx(scale * plain.norm, rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(SHAPES, st.integers(1, 20))
def test_padding_with_zeros_and_turning_them_in_does_not_matter(shape, more):
    rank, seed = shape[0], shape[3]
    B, A = product(*shape)
    wide_B = np.hstack([B, np.zeros((len(B), more), "<f4")])
    wide_A = np.vstack([A, np.zeros((more, A.shape[1]), "<f4")])
    G, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((rank + more,) * 2))
    turned = spectrum((wide_B @ G).astype("<f4"), (G.T @ wide_A).astype("<f4"), 1.0)
    assert alike(spectrum(B, A, 1.0), turned) > 0.999


@settings(deadline=None, max_examples=40)
@given(SHAPES)
def test_the_decomposition_is_that_of_the_product(shape):
    B, A = product(*shape)
    found = spectrum(B, A, -2.0)
    dense = (found.U * found.S * found.top) @ found.V.T
    assert np.allclose(dense, -2.0 * B @ A, atol=1e-4 * np.abs(B @ A).max())
    assert np.allclose(found.U.T @ found.U, np.eye(len(found.S)), atol=1e-4)


def test_kernels_equal_those_of_the_dense_product():
    (B1, A1), (B2, A2) = product(5, 30, 20, 0), product(7, 30, 20, 1)
    first, second = spectrum(B1, A1, 1.0), spectrum(B2, A2, 3.0)
    D1, D2 = B1.astype(float) @ A1, B2.astype(float) @ A2

    def cosine(X, Y):
        return (X * Y).sum() / np.sqrt((X * X).sum() * (Y * Y).sum())

    def root(D):
        U, S, Vt = np.linalg.svd(D, full_matrices=False)
        return (U * np.sqrt(S)) @ Vt

    plain = Kernel(powers=(1.0,), has_left_covariance=False)
    half = Kernel(powers=(0.5,), has_left_covariance=False)
    left = Kernel(powers=(), has_left_covariance=True)
    assert alike(first, second, plain) == pytest.approx(cosine(D1, D2), abs=1e-6)
    assert alike(first, second, half) == pytest.approx(cosine(root(D1), root(D2)), abs=1e-5)
    assert alike(first, second, left) == pytest.approx(cosine(D1 @ D1.T, D2 @ D2.T), abs=1e-6)


@pytest.mark.parametrize("spread", [1e-2, 1e-4])
def test_gram_matrices_agree_with_qr_where_factors_are_ill_conditioned(spread):
    B, A = product(8, 60, 50, 3)
    B = (B * np.geomspace(1, spread, 8)).astype("<f4")
    R1 = np.linalg.qr(B.astype(float), mode="r")
    R2 = np.linalg.qr(A.astype(float).T, mode="r")
    S = np.linalg.svd(R1 @ R2.T, compute_uv=False)
    found = spectrum(B, A, 1.0)
    assert np.allclose(found.S * found.top, S, rtol=1e-6)


def test_a_negative_scale_flips_the_update_and_not_its_covariance():
    B, A = product(4, 20, 20, 0)
    first, second = spectrum(B, A, 1.0), spectrum(B, A, -1.0)
    assert alike(first, second, Kernel((1.0,), False)) == pytest.approx(-1.0, abs=1e-6)
    assert alike(first, second, Kernel((), True)) == pytest.approx(1.0, abs=1e-6)


def test_unlike_updates_are_not_alike():
    first, second = spectrum(*product(4, 300, 300, 0), 1.0), spectrum(*product(4, 300, 300, 1), 1.0)
    assert abs(alike(first, second)) < 0.05


def test_zero_has_no_spectrum():
    assert spectrum(np.zeros((3, 2), "<f4"), np.ones((2, 3), "<f4"), 1.0) is None


def test_many_updates_compare_as_pairs_do():
    spectra = [spectrum(*product(1 + i % 5, 20, 30, i), 1.0) for i in range(9)]
    found = similarities(spectra)
    pairs = [[alike(a, b) for b in spectra] for a in spectra]
    assert np.allclose(found, pairs, atol=1e-6)
    assert np.allclose(similarities(spectra, first=2), found[:2])


def test_sketches_estimate_the_kernel_without_bias_between_unlike_updates():
    projector = Projector(32)
    exact, estimated = [], []
    for layer in range(40):
        mine = spectrum(*product(8, 96, 80, 2 * layer), 1.0)
        other = spectrum(*product(8, 96, 80, 2 * layer + 1), 1.0)
        exact.append(alike(mine, other))
        sketches = [projector.sketch(f"layer{layer}", s) for s in (mine, other)]
        estimated.append(sketches[0] @ sketches[1] / 2)
    error = np.array(estimated) - exact
    assert abs(error.mean()) < 0.01
    assert error.std() < 0.06


@settings(deadline=None, max_examples=30)
@given(SHAPES)
def test_sketches_of_one_update_are_the_same_in_any_gauge(shape):
    B, A = product(*shape)
    G = invertible(shape[0], np.random.default_rng(shape[3]))
    turned = spectrum((B @ G).astype("<f4"), (np.linalg.inv(G) @ A).astype("<f4"), 5.0)
    projector = Projector(16)
    first = projector.sketch("x", spectrum(B, A, 1.0))
    assert first @ projector.sketch("x", turned) / (first @ first) > 0.999


def test_a_sketch_is_the_same_on_every_machine():
    B, A = np.arange(12, dtype="<f4").reshape(6, 2), np.arange(10, dtype="<f4").reshape(2, 5)
    found = Projector(16).sketch("model.x", spectrum(B, A, 1.0))
    assert found.shape == (16 * 16 + 16 * 17 // 2,)
    wanted = [0.1437, 0.0062, 0.0447, 0.0352, -0.0519]
    assert found[[0, 17, 255, 257, 300]] == pytest.approx(wanted, abs=1e-4)
