"""Preset lorax-paper: the published adapters, training and rates, on ConViT with random weights."""

import numpy as np
import onnx
import pytest
import torch

from convits import small_network
from fakescan.attribute import published
from fakescan.attribute.adapt import Place
from fakescan.attribute.answer import ClassRecord, Rules
from fakescan.attribute.attributor import Attributor
from fakescan.attribute.design import PAPER
from fakescan.attribute.gated import HALF, GatedExtractors
from fakescan.attribute.graph import build_graph
from fakescan.attribute.session import Exported, OnnxNamer
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.softmax import Linear
from fakescan.data.augment import Augmentation
from fakescan.errors import ConfigError
from fakescan.image import Preprocess, normalise
from fakescan.model import convit
from fakescan.model.convit import ConViT, network

CLASSES = tuple(
    ClassRecord(task="a", kind="fake" if i else "real", name=f"c{i}", images=1) for i in range(3)
)


def extractors(tasks, seed=0):
    """Of a small network, with adapters that do something."""
    torch.manual_seed(seed)
    made = GatedExtractors(ConViT(small_network()))
    for _ in range(tasks):
        made.grow()
        for name, value in made.tasks[-1].named_parameters():
            if name.endswith("lora_B"):
                torch.nn.init.normal_(value, std=0.1)
    return made


def pixels(count=3):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("convit_base", 2_457_600), ("convit_small", 1_382_400), ("convit_tiny", 614_400)],
)
def test_a_task_trains_as_many_parameters_as_published(name, parameters):
    with torch.device("meta"):
        made = GatedExtractors(ConViT(network(name)))
        made.grow()
    assert sum(p.numel() for p in made.parameters_of(0)) == parameters
    assert not any(p.requires_grad for p in made.convit.parameters())
    state = made.tasks[0].state_dict()
    assert sorted({int(key.split(".")[0]) for key in state}) == list(range(1, 11))
    assert {key.split(".", 1)[1] for key in state} == {
        f"{site}.{half}" for site in ("qk", "v") for half in ("lora_A", "lora_B")
    }


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        *((e, r) for e, r in enumerate([1e-4, 1e-4, 8.63e-5, 7.25e-5, 5.88e-5, 4.50e-5, 3.07e-5])),
        (25, 2.1e-5),
        (49, 1.0e-5),
    ],
)
def test_the_rates_are_those_that_the_published_code_takes(epoch, expected):
    settings = LearnSettings.of(PAPER)
    assert settings.epochs == 50
    assert published.rate(epoch, settings, is_first=False) == pytest.approx(expected, rel=0.015)


def test_the_first_tasks_rate_rises_at_the_end():
    settings = LearnSettings.of(PAPER)
    rates = [published.rate(e, settings, is_first=True) for e in range(50)]
    assert rates[0] == rates[1] == 1e-4
    assert min(rates) == rates[6] == pytest.approx(6.25e-6, rel=0.02)
    assert rates[49] == pytest.approx(1e-5, rel=0.01)


def test_a_fresh_extractor_is_timms_network():
    torch.manual_seed(0)
    net = small_network()
    expected = net(pixels())
    made = GatedExtractors(ConViT(net))
    made.grow()
    trunk = made.trunk(pixels())
    assert torch.allclose(made.one(0, trunk), expected, atol=1e-6)
    assert made.all(trunk).shape == (3, made.own_features)


def test_an_extractor_is_the_network_with_its_loras_folded_in():
    made = extractors(2)
    folded = small_network()
    state = convit.plain_state(made.convit)
    for key, lora in made.tasks[1].named_modules():
        if key.count(".") == 1:
            block, site = key.split(".")
            at = f"blocks.{int(block) - 1}.attn.{site}.weight"
            state[at] = state[at] + 16 / 64 * lora.lora_B @ lora.lora_A
    folded.load_state_dict(state)
    found = made.all(made.trunk(pixels()))
    assert torch.allclose(found[:, made.own_features :], folded.eval()(pixels()), atol=1e-5)
    assert not torch.allclose(found[:, : made.own_features], found[:, made.own_features :])


@pytest.mark.parametrize("tasks", [1, 3])
def test_its_graph_computes_what_torch_computes(tasks, tmp_path):
    made = extractors(tasks)
    for name, value in made.convit.named_parameters():
        if "gating" in name or name.endswith("bias"):
            torch.nn.init.normal_(value)
    rng = np.random.default_rng(0)
    linear = Linear(rng.normal(size=(3, tasks * 32)), rng.normal(size=3))
    known = Attributor(made, CLASSES, linear)
    exported = Exported(
        name="x",
        digest="d",
        preprocess=Preprocess(image_px=32, mean=HALF, std=HALF),
        classes=CLASSES,
        rules=Rules(),
    )
    path = tmp_path / "a.onnx"
    onnx.save(build_graph(known, exported), path)
    onnx.checker.check_model(onnx.load(path))
    crops = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    pixels = torch.from_numpy(normalise(crops, exported.preprocess))
    expected = known.logits(made.all(made.trunk(pixels)).numpy())
    assert np.abs(OnnxNamer(path, device="cpu").logits(crops) - expected).max() < 1e-4


def test_nothing_is_left_at_the_sites_after_a_pass():
    made = extractors(1)
    before = made.convit.features(made.trunk(pixels()).tokens)
    made.one(0, made.trunk(pixels()))
    assert torch.equal(made.convit.features(made.trunk(pixels()).tokens), before)


def test_growth_keeps_the_old_classifier_in_its_corner():
    old = Linear(np.arange(6.0).reshape(2, 3), np.array([1.0, -1.0]))
    linear = published.grown(Place(2, 2, old), 6)
    assert np.array_equal(linear.weight[:2, :3].detach().numpy(), old.weight)
    assert linear.bias.tolist() == [1.0, -1.0, 0.0, 0.0]
    weight = linear.weight.detach()
    new = torch.cat([weight[2:].flatten(), weight[:2, 3:].flatten()]).abs()
    assert 0 < float(new.max()) <= (3 / 6) ** 0.5  # Kaiming, uniform, linear


def test_the_preset_fixes_what_was_published():
    settings = LearnSettings.of(PAPER, epochs=None, batch_size=8)
    assert (settings.epochs, settings.batch_size, settings.memory) == (50, 8, 500)
    assert (settings.weight_decay, settings.diversity, settings.held_out) == (1e-6, 0.1, 0.0)
    assert settings.augmentation == Augmentation(recipe="crop")
    with pytest.raises(ConfigError, match="lr: fixed by preset lorax-paper"):
        LearnSettings.of(PAPER, lr=0.1)
