"""Which collection a tree is laid out as."""

import pytest

from fakescan.data.recognise import recognise
from fakescan.data.samples import read_samples


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("dataset/test/progan/airplane/0_real/1.png", "CNNDetection"),
        ("dataset/test/progan/train/0_real/1.png", "CNNDetection"),
        ("dataset/train/sofa/1_fake/1.png", "CNNDetection"),
        ("diffusion_datasets/ldm_200/1_fake/1.png", "UnivFD"),
        ("LAION/0_real/1.jpg", "UnivFD"),
        ("BigGAN/imagenet_ai_0419_biggan/train/ai/1.png", "GenImage"),
        ("Stable Diffusion V1.4/val/nature/1.JPEG", "GenImage"),
        ("images/train/lsun_bedroom/real/1.png", "DiffusionForensics"),
        ("CDDB/wild/train/0_real/1.png", "CDDB"),
        ("gaugan/val/1_fake/1.png", "CDDB"),
        ("mine/0_real/1.png", "plain folders"),
        ("real/1.png", "plain folders"),
    ],
)
def test_a_layout_is_told_by_its_folders(tree, name, layout):
    root = tree(name)
    found = recognise(root, read_samples(root))
    assert (found.name, found.example) == (layout, name.rpartition("/")[0])


def test_a_manifest_goes_first(tree):
    root = tree("progan/0_real/1.png")
    (root / "manifest.csv").write_text("path,label\nprogan/0_real/1.png,real\n")
    assert recognise(root, read_samples(root)).name == "manifest"
