"""The layouts of the known collections, each as its README documents it."""

from pathlib import Path

import pytest

from fakescan.data.layouts import MAX_DEPTH
from fakescan.data.samples import read_samples
from fakescan.errors import DatasetError


@pytest.mark.parametrize(
    ("name", "label", "split", "source", "generator"),
    [
        ("test/progan/airplane/0_real/1.png", 0, "test", "progan/airplane", ""),
        ("test/progan/airplane/1_fake/1.png", 1, "test", "progan/airplane", "progan"),
        ("train/progan/cat/1_fake/a.PNG", 1, "train", "progan/cat", "progan"),
        ("guided/1_fake/1.png", 1, "", "guided", "guided"),
        ("imagenet/0_real/1.jpg", 0, "", "imagenet", ""),
        ("BigGAN/val/ai/1.png", 1, "val", "BigGAN", "BigGAN"),
        ("BigGAN/val/nature/1.JPEG", 0, "val", "BigGAN", ""),
        (
            "BigGAN/imagenet_ai_0419_biggan/train/ai/1.png",
            1,
            "train",
            "BigGAN/imagenet_ai_0419_biggan",
            "BigGAN",
        ),
        (
            "imagenet_ai_0419_sdv4/val/ai/1.png",
            1,
            "val",
            "imagenet_ai_0419_sdv4",
            "Stable Diffusion V1.4",
        ),
        (
            "Stable Diffusion V1.4/val/ai/1.png",
            1,
            "val",
            "Stable Diffusion V1.4",
            "Stable Diffusion V1.4",
        ),
        (
            "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5/val/ai/1.png",
            1,
            "val",
            "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5",
            "Stable Diffusion V1.5",
        ),
        ("imagenet_glide/train/ai/1.png", 1, "train", "imagenet_glide", "glide"),
        ("real/1.jpg", 0, "", "", ""),
        ("fake/deep/er/1.jpg", 1, "", "", ""),
    ],
)
def test_a_folder_names_label_split_source_and_generator(
    tree, name, label, split, source, generator
):
    (sample,) = read_samples(tree(name))
    assert (sample.label, sample.split, sample.source, sample.generator) == (
        label,
        split,
        source,
        generator,
    )
    assert sample.key == name


def test_diffusion_forensics_has_a_folder_per_generator_beside_real(tree):
    samples = read_samples(
        tree(
            "images/train/imagenet/real/n01/1.png",
            "images/train/imagenet/adm/n01/1.png",
            "images/train/lsun_bedroom/iddpm/1.png",
            "images/train/lsun_bedroom/real/1.png",
            "recons/train/imagenet/real/1.png",
            "dire/train/imagenet/adm/1.png",
        )
    )
    assert [(s.label, s.source, s.generator) for s in samples] == [
        (1, "images/imagenet/adm", "ADM"),
        (0, "images/imagenet", ""),
        (1, "images/lsun_bedroom/iddpm", "iddpm"),
        (0, "images/lsun_bedroom", ""),
    ]


def test_a_folder_beside_real_and_fake_is_no_generator(tree):
    samples = read_samples(tree("real/1.png", "fake/1.png", "masks/1.png"))
    assert [s.key for s in samples] == ["fake/1.png", "real/1.png"]


def test_the_nearest_labelled_folder_counts(tree):
    samples = read_samples(tree("0_real/ai/1.png", "0_real/x/2.png"))
    assert {s.key: s.label for s in samples} == {"0_real/ai/1.png": 1, "0_real/x/2.png": 0}


def test_the_last_suffix_decides_whatever_its_case(tree):
    samples = read_samples(
        tree(
            "real/a.b.JPG", "real/b.WebP", "real/c.bmp", "real/d.jpg.txt", "real/e", "real/._f.jpg"
        )
    )
    assert [Path(s.key).name for s in samples] == ["a.b.JPG", "b.WebP", "c.bmp"]


def test_labels_are_looked_for_down_to_six_folders(tree):
    deep = "/".join("abcdefgh"[: MAX_DEPTH - 1])
    root = tree(f"{deep}/real/1.png", f"z/{deep}/real/1.png")
    assert [s.key for s in read_samples(root)] == [f"{deep}/real/1.png"]


def test_links_are_followed_and_their_loops_are_not(tree, tmp_path):
    root = tree("real/1.png", "fake/1.png")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "2.png").write_text("")
    (root / "real" / "more").symlink_to(elsewhere)
    (root / "real" / "loop").symlink_to(root)
    (root / "real" / "self").symlink_to(root / "real" / "self")
    keys = [s.key for s in read_samples(root)]
    assert keys == ["fake/1.png", "real/1.png", "real/more/2.png"]


def test_a_folder_that_cannot_be_listed_is_named(tree):
    root = tree("real/1.png", "fake/1.png")
    (root / "fake").chmod(0)
    try:
        list((root / "fake").iterdir())
    except PermissionError:
        with pytest.raises(DatasetError, match="fake: cannot be listed"):
            read_samples(root)
    finally:
        (root / "fake").chmod(0o755)
