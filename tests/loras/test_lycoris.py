"""LoHa, LoKr, Tucker cores and number formats give the update that their formulas say."""

import json

import numpy as np
import pytest

from fakescan.loras.describe import describe
from fakescan.loras.header import Slot
from fakescan.loras.kernel import Kernel, similarities
from fakescan.loras.read import decode
from fakescan.loras.spectrum import spectrum
from fakescan.loras.update import Update
from loras_made import factors, kohya, peft, write

PLAIN = Kernel(powers=(1.0,), has_left_covariance=False)


def only_update(path) -> Update:
    found: list[Update] = []
    describe(path, found.append)
    assert len(found) == 1
    return found[0]


def dense(update):
    s = update.spectrum
    return (s.U * s.S * s.top) @ s.V.T


def random(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype("<f4")


def stored(tmp_path, **tensors):
    named = {f"lycoris_mid_block_x.{k.replace('__', '.')}": v for k, v in tensors.items()}
    return only_update(write(tmp_path / "a.safetensors", named))


def test_loha(tmp_path):
    a1, b1, a2, b2 = random(9, 3), random(3, 7), random(9, 2) + 1, random(2, 7) - 1
    found = stored(tmp_path, hada_w1_a=a1, hada_w1_b=b1, hada_w2_a=a2, hada_w2_b=b2)
    assert np.allclose(dense(found), (a1 @ b1) * (a2 @ b2), atol=1e-4)


def test_loha_with_cores(tmp_path):
    a1, b1, t1 = random(3, 9), random(2, 7), random(3, 2, 3, 3)
    a2, b2, t2 = random(2, 9), random(2, 7), random(2, 2, 3, 3)
    found = stored(
        tmp_path, hada_w1_a=a1, hada_w1_b=b1, hada_t1=t1, hada_w2_a=a2, hada_w2_b=b2, hada_t2=t2
    )

    def whole(a, b, t):
        return np.einsum("ijkl,jr,ip->prkl", t, b, a).reshape(9, -1)

    assert np.allclose(dense(found), whole(a1, b1, t1) * whole(a2, b2, t2), atol=1e-3)
    assert found.group == "conv"


@pytest.mark.parametrize("is_factored", [False, True])
def test_lokr(is_factored, tmp_path):
    w1 = random(4, 3)
    if is_factored:
        a, b = random(6, 2), random(2, 5)
        found = stored(tmp_path, lokr_w1=w1, lokr_w2_a=a, lokr_w2_b=b, alpha=np.array(2, "<f4"))
        w2 = a @ b
    else:
        w2 = random(6, 5)
        found = stored(tmp_path, lokr_w1=w1, lokr_w2=w2)
    assert np.allclose(dense(found), np.kron(w1, w2), atol=1e-4)


def test_lokr_of_a_convolution(tmp_path):
    w1, w2 = random(4, 2), random(3, 5, 3, 3)
    found = stored(tmp_path, lokr_w1=w1, lokr_w2=w2)
    assert found.shape == (12, 2 * 5 * 9)
    assert np.allclose(dense(found), np.kron(w1, w2.reshape(3, -1)), atol=1e-4)


def test_a_tucker_core_stands_between_down_and_up(tmp_path):
    up, mid, down = random(8, 3, 1, 1), random(3, 2, 3, 3), random(2, 5, 1, 1)
    found = stored(tmp_path, lora_up__weight=up, lora_mid__weight=mid, lora_down__weight=down)
    wanted = np.einsum("ijkl,jr,pi->prkl", mid, down[:, :, 0, 0], up[:, :, 0, 0])
    assert np.allclose(dense(found), wanted.reshape(8, -1), atol=1e-4)


def test_a_kernel_of_one_by_one_is_a_linear_layer(tmp_path):
    pairs = factors(0)
    shaped = {name: value.reshape(*value.shape, 1, 1) for name, value in kohya(pairs).items()}
    linear = describe(write(tmp_path / "a.safetensors", kohya(pairs)))
    assert describe(write(tmp_path / "b.safetensors", shaped)).modules == linear.modules


def test_a_fused_layer_equals_the_split_ones(tmp_path):
    B, A = random(9, 2), random(2, 3)
    stem = "lora_unet_double_blocks_0_img_attn_qkv"
    fused = {f"{stem}.lora_up.weight": B, f"{stem}.lora_down.weight": A}
    split = {}
    for place, letter in enumerate("qkv"):
        path = f"transformer.transformer_blocks.0.attn.to_{letter}"
        split[f"{path}.lora_B.weight"] = B[3 * place : 3 * place + 3]
        split[f"{path}.lora_A.weight"] = A
    found: list[Update] = []
    describe(write(tmp_path / "a.safetensors", fused), found.append)
    others: list[Update] = []
    describe(write(tmp_path / "b.safetensors", split), others.append)
    wanted = {update.name: update for update in others}
    assert {update.name for update in found} == set(wanted)
    for update in found:
        assert np.allclose(dense(update), dense(wanted[update.name]), atol=1e-5)


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"lora_alpha": 8, "r": 4}, 2.0),
        ({"lora_alpha": 8, "r": 4, "use_rslora": True}, 4.0),
        (
            {"lora_alpha": 8, "r": 4, "alpha_pattern": {"ff.net.2": 4, "attn1.to_q": 4, "to_k": 4}},
            1.0,
        ),
        ({"lora_alpha": "x"}, 1.0),
        ([], 1.0),
    ],
)
def test_peft_states_its_scale_in_a_file_beside(config, scale, tmp_path):
    path = write(tmp_path / "adapter_model.safetensors", peft(factors(0)))
    plain = describe(path).norm
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert describe(path).norm == pytest.approx(scale * plain, rel=1e-6)


def test_alpha_is_divided_by_the_rank_and_a_scale_comes_before_it(tmp_path):
    plain = describe(write(tmp_path / "a.safetensors", kohya(factors(0)))).norm
    tensors = kohya(factors(0), alpha=2.0)
    assert describe(write(tmp_path / "b.safetensors", tensors)).norm == pytest.approx(plain / 2)
    scales = {n.replace(".alpha", ".scale"): np.array(3, "<f4") for n in tensors if "alpha" in n}
    path = write(tmp_path / "c.safetensors", tensors | scales)
    assert describe(path).norm == pytest.approx(3 * plain)


def test_transposed_base_layers_are_turned(tmp_path):
    path = write(tmp_path / "adapter_model.safetensors", peft(factors(0)))
    upright = {m.name: m.shape for m in describe(path).modules}
    (tmp_path / "adapter_config.json").write_text('{"fan_in_fan_out": true}')
    assert {m.name: m.shape[::-1] for m in describe(path).modules} == upright


def test_every_floating_point_type_is_read():
    torch = pytest.importorskip("torch")
    values = torch.linspace(-3, 3, 64)
    for name, dtype in {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F8_E4M3": torch.float8_e4m3fn,
        "F8_E5M2": torch.float8_e5m2,
    }.items():
        raw = values.to(dtype).view(torch.uint8).numpy().tobytes()
        found = decode(raw, Slot(name, (8, 8), 0, len(raw)))
        assert found.dtype == np.float32
        assert np.array_equal(found.ravel(), values.to(dtype).float().numpy())


def test_every_8_bit_code_means_what_torch_says():
    torch = pytest.importorskip("torch")
    raw = bytes(range(256))
    for name, dtype in {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}.items():
        wanted = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(dtype).float().numpy()
        assert np.array_equal(decode(raw, Slot(name, (256,), 0, 256)), wanted, equal_nan=True)


def test_half_precision_moves_the_similarity_by_less_than_a_thousandth(tmp_path):
    B, A = random(64, 8), random(8, 48)
    near = spectrum(B.astype("<f2").astype("<f4"), A.astype("<f2").astype("<f4"), 1.0)
    assert similarities([spectrum(B, A, 1.0), near])[0, 1] > 0.999
    assert similarities([spectrum(B, A, 1.0), near], PLAIN)[0, 1] > 0.999
