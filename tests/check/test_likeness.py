"""Copies and near-copies, by hand."""

from pathlib import Path

import pytest
from PIL import Image

from fakescan.check.likeness import Item, compare
from fakescan.data.duplicates import MAX_BITS, perceptual_hash
from fakescan.data.samples import Sample

ROOT = Path(__file__).resolve().parents[2]
FAR = 0xFFFF_FFFF


def item(key, look, *, label=0, split="", sha256="", pair="", derived_from=""):
    sample = Sample(
        path=Path(key),
        key=key,
        label=label,
        source="",
        split=split,
        pair=pair,
        derived_from=derived_from,
    )
    return Item(sample, sha256 or key, look)


def keys(twins):
    return [(t.one.key, t.other.key, t.bits) for t in twins]


def test_exact_copies_are_groups_and_one_of_each_may_stay():
    found = compare([item("b", 0, sha256="x"), item("a", 0, sha256="x"), item("c", FAR)])
    assert [[s.key for s in copies.samples] for copies in found.copies] == [["a", "b"]]
    assert found.copies[0].spare == 1


def test_near_means_up_to_six_bits():
    assert MAX_BITS == 6
    found = compare([item("a", 0), item("b", 0b111111), item("c", 0b111111 << 20 | 1)])
    assert keys(found.anywhere) == [("a", "b", 6)]
    assert found.alike == 2


def test_twins_of_another_split_are_found_behind_nearer_ones_of_the_same():
    found = compare(
        [
            item("train/a", 0, split="train"),
            item("train/b", 0, split="train"),
            item("dev/c", 0b11, split="dev"),
            item("dev/d", FAR, split="dev"),
        ]
    )
    assert keys(found.across_splits.twins) == [
        ("dev/c", "train/a", 2),
        ("dev/c", "train/b", 2),
    ]
    assert found.across_splits.images == 3
    assert found.across_splits.counts == {("dev", "train"): 3}
    assert keys(found.anywhere)[0] == ("train/a", "train/b", 0)
    assert found.across_labels.twins == ()


def test_what_the_data_declares_as_related_is_told_apart():
    found = compare(
        [
            item("real/a", 0, pair="p"),
            item("fake/a", 0, label=1, pair="p"),
            item("real/b", FAR),
            item("fake/b", FAR, label=1, derived_from="real/b"),
            item("fake/c", FAR ^ 1, label=1),
        ]
    )
    crossing = found.across_labels
    assert [(t.one.key, t.other.key, t.is_declared) for t in crossing.twins] == [
        ("fake/c", "real/b", False),
        ("fake/a", "real/a", True),
        ("fake/b", "real/b", True),
    ]
    assert (crossing.images, crossing.undeclared) == (5, 2)


def test_images_without_structure_are_never_alike():
    found = compare([item("a", None, split="x"), item("b", None, split="y")])
    assert (found.anywhere, found.across_splits.twins) == ((), ())


def test_thousands_of_equal_frames_take_no_square_of_pairs():
    items = [item(f"{i:05}", 5, split=f"s{i % 2}", sha256="x") for i in range(20_000)]
    found = compare(items)
    assert found.alike == found.across_splits.images == 20_000
    assert len(found.across_splits.twins) <= 20_000
    assert found.copies[0].spare == 19_999


@pytest.mark.parametrize("name", ["real/coffee.jpg", "fake/sdxl-statue.jpg", "real/camera.jpg"])
def test_a_copy_that_was_scaled_and_compressed_is_near(name, tmp_path):
    image = Image.open(ROOT / "samples" / name)
    image.resize((image.width // 2, image.height // 2)).save(tmp_path / "a.jpg", quality=40)
    one, other = perceptual_hash(image), perceptual_hash(Image.open(tmp_path / "a.jpg"))
    assert one is not None
    assert other is not None
    assert (one ^ other).bit_count() <= MAX_BITS


def test_the_samples_are_different_pictures():
    looks = [perceptual_hash(Image.open(path)) for path in sorted(ROOT.glob("samples/*/*.jpg"))]
    assert len(looks) == 12
    assert not compare([item(str(i), look) for i, look in enumerate(looks)]).anywhere
