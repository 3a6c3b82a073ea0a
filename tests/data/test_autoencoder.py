"""Autoencoders of the TAESD form."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from fakescan.data.autoencoder import load_autoencoder
from fakescan.errors import WeightsError


def test_a_round_trip_keeps_shape_and_range(autoencoder_folder):
    network = load_autoencoder(autoencoder_folder)
    x = torch.rand(2, 3, 24, 32)
    assert network.encoder(x).shape == (2, 4, 3, 4)
    y = network(x)
    assert y.shape == x.shape
    assert y.min() >= 0
    assert y.max() <= 1
    assert not y.requires_grad


def test_sides_that_are_no_multiple_of_8_are_a_wrong_call(autoencoder_folder):
    with pytest.raises(ValueError, match="multiples of 8"):
        load_autoencoder(autoencoder_folder)(torch.rand(1, 3, 24, 30))


def test_the_fingerprint_is_of_the_tensors(autoencoder_folder, tmp_path):
    first = load_autoencoder(autoencoder_folder).fingerprint()
    assert load_autoencoder(autoencoder_folder).fingerprint() == first
    changed = copy_with(autoencoder_folder, tmp_path, "decoder", lambda t: t["19.bias"].add_(1))
    assert load_autoencoder(changed).fingerprint() != first


def copy_with(folder, target, part, change):
    shutil.copytree(folder, target, dirs_exist_ok=True)
    path = target / f"{part}.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    return target


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_missing_file_is_named(autoencoder_folder, tmp_path, part):
    shutil.copytree(autoencoder_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / f"{part}.safetensors").unlink()
    with pytest.raises(WeightsError, match=rf"{part}\.safetensors: no such file"):
        load_autoencoder(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("3.conv.0.weight"),
        lambda tensors: tensors.pop("14.weight", tensors.pop("1.weight", None)),
        lambda tensors: tensors.update(extra=torch.zeros(1)),
        lambda tensors: tensors.update({"3.conv.0.weight": torch.zeros(32, 64, 3, 3)}),
        lambda tensors: tensors.clear(),
    ],
)
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_tensors_of_another_form_are_refused_in_one_line(
    autoencoder_folder, tmp_path, part, change
):
    folder = copy_with(autoencoder_folder, tmp_path, part, change)
    with pytest.raises(WeightsError, match="not an autoencoder of the TAESD form") as caught:
        load_autoencoder(folder)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_safetensors_is_refused(autoencoder_folder, tmp_path):
    shutil.copytree(autoencoder_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "encoder.safetensors").write_bytes(b"PK\x03\x04" * 10)
    with pytest.raises(WeightsError, match="not an autoencoder of the TAESD form"):
        load_autoencoder(tmp_path)
