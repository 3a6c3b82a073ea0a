"""The audit of file properties, and its command."""

import numpy as np
import pytest
from PIL import Image

from fakescan.cli import main
from fakescan.data.samples import read_samples
from fakescan.errors import DatasetError
from fakescan.evaluate.audit import audit, nearest_fakes
from fakescan.evaluate.metrics import roc_auc


def write(root, label, count, suffix, size):
    rng = np.random.default_rng(count)
    folder = root / ("0_real", "1_fake")[label]
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.{suffix}")


def test_a_format_that_goes_with_the_class_is_found(tmp_path):
    write(tmp_path, 0, 20, "jpg", (16, 24))
    write(tmp_path, 1, 20, "png", (16, 24))
    (tmp_path / "1_fake/broken.png").write_bytes(b"")
    found = audit(read_samples(tmp_path))
    assert (found.reals, found.fakes) == (20, 20)
    by_name = {row.name: row for row in found.rows}
    assert by_name["is_png"].auc == 1
    assert (by_name["is_png"].real_mean, by_name["is_png"].fake_mean) == (0, 1)
    assert "width" not in by_name
    assert found.together.value == 1
    assert [key for key, _ in found.unreadable] == ["1_fake/broken.png"]


def test_files_alike_in_all_say_nothing():
    labels = np.array([0] * 30 + [1] * 10)
    assert roc_auc(labels, nearest_fakes(labels, np.ones((40, 3)))) == 0.5


def test_what_only_two_properties_tell_together_is_found():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, (200, 2)).astype(float)
    labels = (values[:, 0] == values[:, 1]).astype(int)  # neither alone tells anything
    assert roc_auc(labels, nearest_fakes(labels, values)) == 1


def test_properties_without_a_link_to_the_label_stay_near_chance():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    assert abs(roc_auc(labels, nearest_fakes(labels, rng.normal(size=(400, 4)))) - 0.5) < 0.08


def test_two_files_are_enough():
    labels = np.array([0, 1])
    assert nearest_fakes(labels, np.array([[1.0], [2.0]])).tolist() == [1, 0]


def test_one_class_alone_is_refused(tmp_path):
    write(tmp_path, 0, 2, "png", (8, 8))
    with pytest.raises(DatasetError, match="only reals"):
        audit(read_samples(tmp_path))


def test_the_command_prints_a_table(tmp_path, capsys):
    write(tmp_path, 0, 12, "jpg", (16, 24))
    write(tmp_path, 1, 12, "png", (16, 24))
    (tmp_path / "1_fake/[red].png").write_bytes(b"")
    assert main(["data", "audit", str(tmp_path), "--no-progress"]) == 0
    captured = capsys.readouterr()
    assert "12 real and 12 fake images" in captured.out
    assert "is_png" in captured.out
    assert "all together: AUC 1.000, 95 % interval 1.000 to 1.000" in captured.out
    assert "left out: 1_fake/[red].png: " in captured.err


def test_the_command_names_what_is_missing(tmp_path, capsys):
    write(tmp_path, 0, 2, "png", (8, 8))
    assert main(["data", "audit", str(tmp_path), "--no-progress"]) == 2
    assert "both real and fake images are needed" in capsys.readouterr().err
