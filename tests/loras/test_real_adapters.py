"""Files that the peft library really writes, and what becomes of them on their way."""

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pytest

from fakescan.loras.build import build
from fakescan.loras.collection import Collection
from fakescan.loras.describe import describe
from fakescan.loras.duplicates import duplicates

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def peft():
    """The library; it is a development dependency, so that CI has it."""
    importlib.metadata.version("peft")
    import peft

    return peft


@pytest.fixture
def base(torch):
    """A model with the layer names of a text-to-image U-Net: linear, convolution, 1 x 1."""
    nn = torch.nn

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.to_q = nn.Linear(32, 32)
            self.to_out = nn.ModuleList([nn.Linear(32, 32)])

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn1 = Attention()
            self.conv1 = nn.Conv2d(32, 24, 3)
            self.proj_in = nn.Conv2d(32, 32, 1)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.mid_block = Block()

        def forward(self, x):
            return x

    return Model()


def saved(peft, torch, base, folder, kind="LoraConfig", seed=0, **options):
    """Save an adapter whose factors are all random, as a trained one's are."""
    torch.manual_seed(seed)
    config = getattr(peft, kind)(target_modules=["to_q", "to_out.0", "conv1", "proj_in"], **options)
    model = peft.get_peft_model(base, config)
    for name, parameter in model.named_parameters():
        if any(word in name for word in ("lora_", "hada_", "lokr_")):
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    model.unload()
    return Path(folder) / "adapter_model.safetensors", model


def test_a_lora_that_peft_wrote_is_read_with_its_scale(peft, torch, base, tmp_path):
    path, _ = saved(peft, torch, base, tmp_path, r=4, lora_alpha=8)
    found = describe(path)
    assert (found.dialect, found.kinds) == ("PEFT", ("LoRA",))
    assert {m.name for m in found.modules} == {
        "model.mid_block_attn1_to_q",
        "model.mid_block_attn1_to_out_0",
        "model.mid_block_conv1",
        "model.mid_block_proj_in",
    }
    assert {m.rank for m in found.compared} == {4}


@pytest.mark.parametrize(
    ("kind", "options", "wanted"),
    [
        ("LoraConfig", {"r": 4, "lora_alpha": 12}, "LoRA"),
        ("LoraConfig", {"r": 4, "lora_alpha": 12, "use_rslora": True}, "LoRA"),
        ("LoraConfig", {"r": 4, "lora_alpha": 12, "alpha_pattern": {"to_q": 4}}, "LoRA"),
        ("LoHaConfig", {"r": 3, "alpha": 6}, "LoHa"),
        ("LoKrConfig", {"r": 3, "alpha": 6}, "LoKr"),
    ],
)
def test_the_strength_is_that_of_the_weights_that_peft_merges(
    peft, torch, base, tmp_path, kind, options, wanted
):
    before = {name: p.detach().clone() for name, p in base.named_parameters()}
    torch.manual_seed(0)
    config = getattr(peft, kind)(target_modules=["to_q"], **options)
    model = peft.get_peft_model(base, config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(tmp_path)
    after = model.merge_and_unload()
    name = "mid_block.attn1.to_q.weight"
    update = dict(after.named_parameters())[name].detach() - before[name]
    found = describe(tmp_path / "adapter_model.safetensors")
    assert found.kinds == (wanted,)
    assert found.norm == pytest.approx(float(update.norm()), rel=2e-3)


def test_dora_is_flagged(peft, torch, base, tmp_path):
    path, _ = saved(peft, torch, base, tmp_path, r=4, use_dora=True)
    assert any(warning.startswith("DoRA") for warning in describe(path).warnings)


def test_a_type_that_is_not_compared_is_named(peft, torch, base, tmp_path):
    from fakescan.errors import LoraUnsupported

    torch.manual_seed(0)
    config = peft.OFTConfig(target_modules=["to_q"], oft_block_size=8, r=0)
    peft.get_peft_model(base, config).save_pretrained(tmp_path)
    with pytest.raises(LoraUnsupported, match="OFT"):
        describe(tmp_path / "adapter_model.safetensors")


def changes(torch):
    """What may be done to B (m, r) and A (r, n) without changing the update, but for its size."""

    def turned(B, A):
        G = torch.linalg.qr(torch.randn(len(A), len(A)))[0] @ torch.diag(torch.rand(len(A)) + 0.1)
        return B @ G, torch.linalg.inv(G) @ A

    def padded(B, A):
        wide = torch.cat([B, torch.zeros(len(B), 8)], 1)
        return turned(wide, torch.cat([A, torch.zeros(8, A.shape[1])]))

    def resized(B, A):
        U, S, Vh = torch.linalg.svd(B @ A, full_matrices=False)
        return U[:, :4] * S[:4].sqrt(), S[:4].sqrt()[:, None] * Vh[:4]

    return {
        "renamed": lambda B, A: (B, A),
        "rescaled": lambda B, A: (0.3 * B, A),
        "turned": turned,
        "padded": padded,
        "resized": resized,
    }


def as_kohya(torch, tensors, change, dtype):
    """A PEFT file's tensors under kohya's names, each pair changed."""
    out = {}
    for name, A in tensors.items():
        if ".lora_A." not in name:
            continue
        B = tensors[name.replace("lora_A", "lora_B")]
        up, down = change(B.flatten(1), A.flatten(1))
        path = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        stem = "lora_unet_" + path.replace(".", "_")
        out[f"{stem}.lora_up.weight"] = up.reshape(len(B), len(down), *B.shape[2:])
        out[f"{stem}.lora_down.weight"] = down.reshape(len(down), *A.shape[1:])
        out[f"{stem}.alpha"] = torch.tensor(3.0)
    return {name: t.to(dtype).contiguous() for name, t in out.items()}


def test_an_adapter_is_known_again_whatever_was_done_to_it(peft, torch, base, tmp_path):
    from safetensors.torch import load_file, save_file

    files = tmp_path / "files"
    path, _ = saved(peft, torch, base, files / "original", r=4, lora_alpha=8)
    saved(peft, torch, base, files / "other", seed=1, r=4, lora_alpha=8)
    tensors, wanted = load_file(path), {"original/adapter_model.safetensors"}
    for name, change in changes(torch).items():
        for dtype in (torch.float32, torch.float16):
            target = f"{name} {dtype}.safetensors"
            save_file(as_kohya(torch, tensors, change, dtype), files / target)
            wanted.add(target)
    build(files, tmp_path / "idx")
    found = duplicates(Collection(tmp_path / "idx"))
    assert {copy.member.path for copy in found} == wanted
    assert {copy.group for copy in found} == {1}
    assert min(copy.raw for copy in found) >= 0.999
    assert all(copy.is_exact for copy in found if copy.likeness)


def test_the_config_that_peft_writes_is_what_is_read(peft, torch, base, tmp_path):
    saved(peft, torch, base, tmp_path, r=4, lora_alpha=8)
    values = json.loads((tmp_path / "adapter_config.json").read_text())
    assert {"lora_alpha", "r", "use_rslora", "alpha_pattern", "fan_in_fan_out"} <= set(values)
    assert np.isclose(values["lora_alpha"], 8)
