"""The public test sets, with exactly the folder names that their publishers use."""

from collections import Counter

import pytest

from fakescan.errors import DatasetError
from fakescan.evaluate.paper import read_table
from fakescan.evaluate.protocols import PROTOCOLS, paper_view, setup
from fakescan.image import Preprocess

CNN = [
    "progan",
    "cyclegan",
    "biggan",
    "stylegan",
    "gaugan",
    "stargan",
    "deepfake",
    "seeingdark",
    "san",
    "crn",
    "imle",
]
CLASSED = ("progan", "stylegan", "cyclegan")
"""With a folder per class between the generator and the label."""
DIFFUSION = [
    "guided",
    "ldm_200",
    "ldm_200_cfg",
    "ldm_100",
    "glide_100_27",
    "glide_50_27",
    "glide_100_10",
    "dalle",
]
GENIMAGE = {
    "BigGAN/imagenet_ai_0419_biggan": "BigGAN",
    "VQDM/imagenet_ai_0419_vqdm": "VQDM",
    "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4": "SD_v1.4",
    "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5": "SD_v1.5",
    "wukong/imagenet_ai_0424_wukong": "Wukong",
    "ADM/imagenet_ai_0508_adm": "ADM",
    "glide/imagenet_glide": "GLIDE",
    "Midjourney/imagenet_midjourney": "Midjourney",
}
"""As downloaded."""
README = {
    "Midjourney": "Midjourney",
    "Stable Diffusion V1.4": "SD_v1.4",
    "Stable Diffusion V1.5": "SD_v1.5",
    "ADM": "ADM",
    "GLIDE": "GLIDE",
    "Wukong": "Wukong",
    "VQDM": "VQDM",
    "BigGAN": "BigGAN",
}


@pytest.fixture
def tree(tmp_path):
    """Write empty files of these names; nothing is opened here."""

    def make(names, top="root"):
        for name in names:
            path = tmp_path / top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / top

    return make


def univfd(fakes=3, reals=3):
    names = []
    for name in CNN:
        folder = f"datasets/test/{name}" + ("/horse" if name in CLASSED else "")
        names += [f"{folder}/0_real/{i}.png" for i in range(reals)]
        names += [f"{folder}/1_fake/{i}.png" for i in range(fakes)]
    for pool in ("imagenet", "laion"):
        names += [f"diffusion_datasets/{pool}/0_real/{i}.jpg" for i in range(reals)]
    for name in DIFFUSION:
        names += [f"diffusion_datasets/{name}/1_fake/{i}.png" for i in range(fakes)]
    return names


def names_of(found):
    return [c.name for c in found.comparisons]


def test_columns_are_called_as_in_the_tables():
    for protocol in PROTOCOLS.values():
        for table in protocol.tables.values():
            assert tuple(c.name for c in protocol.columns) == read_table(table).generators


def test_univfd_has_all_19_columns_in_two_places(tree):
    found = setup(tree(univfd()), "univfd")
    assert names_of(found) == list(read_table("table1_univfd_ap").generators)
    assert (found.missing, found.note) == ({}, "")
    met = {c.name: c for c in found.comparisons}
    for name, column in zip(CNN, list(met)[:11], strict=True):
        assert {s.key.split("/")[2] for s in met[column].fakes + met[column].reals} == {name}
    assert {s.key.split("/")[1] for s in met["Guided"].reals} == {"imagenet"}
    for column in list(met)[12:]:
        assert {s.key.split("/")[1] for s in met[column].reals} == {"laion"}
    assert {s.key.split("/")[1] for s in met["LDM_200_cfg"].fakes} == {"ldm_200_cfg"}
    assert len(found.samples) == 11 * 6 + 6 + 8 * 3


def test_training_and_validation_images_are_left_out(tree):
    extra = [
        "datasets/train/progan/cat/0_real/9.png",
        "datasets/train/progan/cat/1_fake/9.png",
        "dataset/val/biggan/0_real/9.png",
    ]
    found = setup(tree([*univfd(), *extra]), "univfd")
    assert not [s.key for s in found.samples if s.key.endswith("/9.png")]


def test_progan_has_a_class_called_train(tree):
    names = ["train/0_real/1.png", "train/1_fake/1.png", "boat/0_real/1.png", "boat/1_fake/1.png"]
    root = tree([f"test/progan/{name}" for name in names])
    for place in (root, root / "test", root / "test/progan"):
        (progan,) = setup(place, "univfd").comparisons
        assert (len(progan.fakes), len(progan.reals)) == (2, 2)


def test_other_spellings_of_the_same_names(tree):
    names = [
        "CNNDetection/SITD/0_Real/a.b.JPG",
        "CNNDetection/SITD/1_Fake/a.b.c.webp",
        "Deepfakes/0_real/1.bmp",
        "Deepfakes/1_fake/1.TIFF",
        "LDM_200/1_fake/1.PNG",
        "LAION/0_real/1.JPEG",
        "DALLE/1_fake/1.png",
        "DALLE/1_fake/1.txt",
    ]
    found = setup(tree(names), "univfd")
    assert names_of(found) == ["Deepfakes", "SITD", "LDM_200", "DALLE"]
    assert len(found.samples) == 7


def test_what_is_missing_is_named_with_the_reason(tree):
    names = [n for n in univfd() if "/san/" not in n and "imagenet" not in n]
    names = [n for n in names if "crn/1_fake" not in n and "imle/0_real" not in n]
    found = setup(tree(names), "univfd")
    assert found.missing == {
        "SAN": "not there",
        "CRN": "no fakes",
        "IMLE": "no reals",
        "Guided": "no reals: there is no imagenet/0_real",
    }
    assert len(found.comparisons) == 15


def test_as_many_reals_as_fakes_are_taken_and_smaller_choices_lie_inside_larger_ones(tree):
    names = [f"biggan/0_real/{i}.png" for i in range(50)]
    names += [f"biggan/1_fake/{i}.png" for i in range(30)]
    root = tree(names)
    all_of, some, few = (setup(root, "univfd", per_label=n).comparisons[0] for n in (1000, 20, 5))
    assert (len(all_of.fakes), len(all_of.reals)) == (30, 30)
    assert (len(some.fakes), len(few.reals)) == (20, 5)
    assert set(few.fakes) < set(some.fakes) < set(all_of.fakes)
    other = setup(root, "univfd", per_label=20, seed=1).comparisons[0]
    assert set(other.reals) != set(some.reals)


def test_the_choice_does_not_depend_on_where_the_test_set_lies(tree):
    names = univfd(fakes=20, reals=20)
    root, deep = tree(names), tree([f"downloads/{n}" for n in names], top="other")
    for place in (deep, deep / "downloads"):
        chosen, again = (
            Counter(s.key.removeprefix("downloads/") for s in found.samples)
            for found in (setup(p, "univfd", per_label=5) for p in (root, place))
        )
        assert chosen == again


def test_diffusion_sets_share_the_chosen_reals(tree):
    found = setup(tree(univfd(fakes=20, reals=20)), "univfd", per_label=5)
    laion = {c.reals for c in found.comparisons if c.reals[0].key.split("/")[1] == "laion"}
    assert len(laion) == 1


@pytest.mark.parametrize("layout", [GENIMAGE, README])
@pytest.mark.parametrize("is_flat", [False, True])
def test_genimage_is_read_as_downloaded_and_as_its_readme_says(tree, layout, is_flat):
    names = []
    for folder in layout:
        folder = folder.rpartition("/")[2] if is_flat else folder
        for split in ("train", "val"):
            names += [f"{folder}/{split}/ai/{i}.png" for i in range(2)]
            names += [f"{folder}/{split}/nature/ILSVRC2012_val_{i}.JPEG" for i in range(2)]
    found = setup(tree(names), "genimage")
    assert set(names_of(found)) == set(layout.values())
    assert found.missing == {"DALLE2": "not there"}
    assert len(found.samples) == 8 * 4
    for c in found.comparisons:
        assert all("/val/ai/" in s.key for s in c.fakes)
        assert all("/val/nature/" in s.key for s in c.reals)


@pytest.mark.parametrize("place", [".", "imagenet_glide"])
def test_genimage_is_read_from_any_folder_above(tree, place):
    root = tree(["imagenet_glide/val/ai/1.png", "imagenet_glide/val/nature/1.JPEG"])
    (glide,) = setup(root / place, "genimage").comparisons
    assert (glide.name, len(glide.fakes), len(glide.reals)) == ("GLIDE", 1, 1)


GLIDE = ["glide/val/ai/1.png", "glide/val/nature/1.JPEG"]
FORENSICS = "DiffusionForensics/images/test/imagenet"


@pytest.mark.parametrize(
    ("names", "fakes", "reals", "note"),
    [
        (
            [
                f"{FORENSICS}/dalle2/a.png",
                f"{FORENSICS}/real/n01/b.png",
                f"{FORENSICS}/adm/c.png",
                "DiffusionForensics/recons/test/imagenet/dalle2/d.png",
                "DiffusionForensics/dire/test/imagenet/dalle2/d.png",
                "DiffusionForensics/images/train/imagenet/dalle2/e.png",
                "DiffusionForensics/images/train/imagenet/real/e.png",
            ],
            [f"{FORENSICS}/dalle2/a.png"],
            [f"{FORENSICS}/real/n01/b.png"],
            f"DALL-E 2: fakes of {FORENSICS}/dalle2, reals of the folder real beside it",
        ),
        (
            ["DALL-E 2/val/ai/a.png", "DALL-E 2/val/nature/b.JPEG"],
            ["DALL-E 2/val/ai/a.png"],
            ["DALL-E 2/val/nature/b.JPEG"],
            "DALL-E 2: fakes of DALL-E 2, reals of the same folder",
        ),
        (
            ["more/dalle-2/x/a.b.JPG", "more/dalle-2/note.txt", "more/dalle-2/.b.png"],
            ["more/dalle-2/x/a.b.JPG"],
            ["glide/val/nature/1.JPEG"],
            "DALL-E 2: fakes of more/dalle-2, reals of GenImage's val/nature",
        ),
    ],
)
def test_dalle_2_is_found_wherever_it_is(tree, names, fakes, reals, note):
    found = setup(tree([*GLIDE, *names]), "genimage")
    assert names_of(found) == ["GLIDE", "DALLE2"]
    dalle2 = found.comparisons[1]
    assert [s.key for s in dalle2.fakes] == fakes
    assert [s.key for s in dalle2.reals] == reals
    assert found.note == note


def test_dalle_2_is_read_from_its_own_folder(tree):
    root = tree(["dalle2/0_real/1.png", "dalle2/1_fake/1.png"])
    for place in (root, root / "dalle2"):
        (only,) = setup(place, "genimage").comparisons
        assert (only.name, len(only.fakes)) == ("DALLE2", 1)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_tree_of_something_else_is_one_clear_line(tree, name):
    root = tree(["mine/real/1.png", "mine/fake/1.png"])
    with pytest.raises(DatasetError, match=f"no generator of {name} with fakes and reals; expec"):
        setup(root, name)
    with pytest.raises(DatasetError, match="no such folder"):
        setup(root / "nowhere", name)
    with pytest.raises(DatasetError, match="not a file"):
        setup(root / "mine/real/1.png", name)


def test_the_papers_view_pads_and_never_scales():
    own = Preprocess(image_px=64, mean=(0.1, 0.2, 0.3))
    seen = paper_view(own)
    assert (seen.geometry, seen.image_px, seen.mean) == ("pad", 64, own.mean)
