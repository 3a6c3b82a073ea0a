"""Validation never shares a group with training."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fakescan.data.duplicates import difference_hash, near_duplicates
from fakescan.data.groups import assign_groups, group, hold_out
from fakescan.data.samples import Sample
from fakescan.errors import DatasetError


def sample(key, label, source="", **other):
    return Sample(path=Path(key), key=key, label=label, source=source, **other)


def source(name, label, count, **other):
    return [sample(f"{name}/{i}.png", label, name, **other) for i in range(count)]


def pairs_of(reals):
    return [
        sample(
            f"{folder}/{s.source}-{i}.png", label, s.source, pair=f"{s.source}-{i}",
            derived_from=s.key,
        )
        for i, s in enumerate(reals)
        for folder, label in (("0_real", 0), ("1_fake", 1))
    ]  # fmt: skip


@st.composite
def collections(draw):
    sizes = st.lists(st.integers(1, 90), min_size=2, max_size=6)
    samples = []
    for label in (0, 1):
        for i, size in enumerate(draw(sizes)):
            samples += source(f"{'rf'[label]}{i}", label, size)
    if draw(st.booleans()):
        samples += pairs_of([s for s in samples if s.label == 0])
    return samples


@given(collections(), st.floats(0.1, 0.5), st.integers(0, 9))
def test_no_source_and_no_pair_is_parted_and_both_labels_are_on_both_sides(samples, fraction, seed):
    split = hold_out(samples, fraction=fraction, seed=seed)
    assert not {s.source for s in split.train} & {s.source for s in split.validation}
    assert not {s.pair for s in split.train if s.pair} & {s.pair for s in split.validation}
    assert {s.label for s in split.train} == {s.label for s in split.validation} == {0, 1}
    assert sorted(s.key for s in split.train + split.validation) == sorted(s.key for s in samples)
    assert not split.is_optimistic


def test_fakes_of_pairs_do_not_make_a_lone_generator_two():
    samples = source("a", 0, 9) + source("b", 0, 9) + source("f", 1, 9)
    folders = [
        sample(f"{part}/{s.key}", s.label, s.source) for s in samples for part in ("one", "two")
    ]
    pairs = pairs_of([s for s in folders if s.label == 0])
    assert group([*folders, *pairs]).kind == group(folders).kind != "source"


def test_the_fraction_is_held_out_of_each_label_over_several_sources():
    samples = [s for i in range(10) for s in source(f"r{i}", 0, 40) + source(f"f{i}", 1, 20)]
    split = hold_out(samples, fraction=0.2, seed=3)
    assert Counter(s.label for s in split.validation) == {0: 80, 1: 40}
    assert len({s.source for s in split.validation}) == 4


def test_a_large_source_counts_as_sixty_images():
    samples = source("r0", 0, 600) + source("f0", 1, 60) + source("f1", 1, 60)
    samples += [s for i in range(1, 5) for s in source(f"r{i}", 0, 60)]
    held = {hold_out(samples, fraction=0.2, seed=s).note for s in range(12)}
    assert any("r0" in note for note in held)  # one of five, although nearly all the images


def test_the_seed_decides():
    samples = [s for i in range(10) for s in source(f"r{i}", 0, 40) + source(f"f{i}", 1, 20)]
    notes = [hold_out(samples, fraction=0.2, seed=seed).note for seed in (0, 0, 1)]
    assert notes[0] == notes[1] != notes[2]
    assert hold_out(samples[::-1], fraction=0.2, seed=0).note == notes[0]


def test_an_image_is_in_the_group_of_what_it_was_derived_from():
    samples = source("cameras", 0, 2) + source("films", 0, 2) + source("f0", 1, 2)
    samples += source("f1", 1, 2)
    samples += [sample("thumb/0.png", 0, "thumbs", derived_from="cameras/0.png")]
    samples += [sample("thumb/00.png", 0, "thumbs", derived_from="thumb/0.png")]
    groups = assign_groups(samples)
    assert groups["thumb/00.png"] == groups["thumb/0.png"] == groups["cameras/0.png"]
    assert groups["films/0.png"] == "films"


def test_images_derived_from_one_absent_image_are_together():
    samples = source("a", 0, 1) + source("b", 0, 1) + source("f0", 1, 1) + source("f1", 1, 1)
    samples += [
        sample("t/0", 0, "x", derived_from="gone"),
        sample("t/1", 0, "y", derived_from="gone"),
    ]
    groups = assign_groups(samples)
    assert groups["t/0"] == groups["t/1"]


def test_a_circle_of_derivations_ends():
    samples = source("a", 0, 1) + source("b", 0, 1) + source("f0", 1, 1) + source("f1", 1, 1)
    samples += [
        sample("t/0", 0, "x", derived_from="t/1"),
        sample("t/1", 0, "y", derived_from="t/0"),
    ]
    groups = assign_groups(samples)
    assert groups["t/0"] == groups["t/1"]


def test_sources_may_be_named_and_take_their_pairs_along():
    reals = source("cameras", 0, 5) + source("films", 0, 5)
    samples = reals + source("f0", 1, 5) + source("f1", 1, 5) + pairs_of(reals)
    split = hold_out(samples, fraction=0.2, seed=0, sources=("cam*", "f1"))
    assert {s.source for s in split.validation} == {"cameras", "f1"}
    assert sum(bool(s.pair) for s in split.validation) == 10


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (("nowhere",), "'nowhere': no such source; known: f0, f1, r0, r1"),
        (("r0",), "validation would not hold both"),
        (("r*", "f0"), "training would not hold both"),
    ],
)
def test_sources_that_leave_no_split_are_refused(sources, message):
    samples = [s for n, k in (("r0", 0), ("r1", 0), ("f0", 1), ("f1", 1)) for s in source(n, k, 3)]
    with pytest.raises(DatasetError, match=message):
        hold_out(samples, fraction=0.2, seed=0, sources=sources)


def test_sub_folders_are_groups_where_there_are_no_sources():
    samples = [
        sample(f"{leaf}/{name}/{i}.png", label)
        for leaf, label in (("0_real", 0), ("1_fake", 1))
        for name in ("cat", "dog", "car")
        for i in range(4)
    ]
    assert group(samples).kind == "sub-folder"
    split = hold_out(samples, fraction=0.3, seed=0)
    folders = [{s.key.split("/")[1] for s in part} for part in (split.train, split.validation)]
    assert not folders[0] & folders[1]
    assert not split.is_optimistic


def test_near_duplicates_are_groups_where_there_is_nothing_better(tmp_path, photo):
    samples = []
    for i in range(8):
        image = photo(96, 64, seed=i)
        for k, scaled in enumerate((image, image.resize((150, 100)))):
            path = tmp_path / f"{i}-{k}.jpg"
            scaled.save(path, quality=80)
            samples.append(Sample(path=path, key=path.name, label=i % 2, source=""))
    (tmp_path / "broken.jpg").write_bytes(b"")
    samples.append(Sample(path=tmp_path / "broken.jpg", key="broken.jpg", label=0, source=""))
    split = hold_out(samples, fraction=0.25, seed=0)
    assert split.is_optimistic
    assert "optimistic" in split.note
    pictures = [{s.key.split("-")[0] for s in part} for part in (split.train, split.validation)]
    assert not pictures[0] & pictures[1]


def test_images_that_are_all_alike_cannot_be_split(tmp_path, photo):
    photo(64, 64).save(tmp_path / "same.png")
    samples = [
        Sample(path=tmp_path / "same.png", key=f"{i}", label=i % 2, source="") for i in range(6)
    ]
    with pytest.raises(DatasetError, match="training would not hold both"):
        hold_out(samples, fraction=0.2, seed=0)


def test_one_class_alone_cannot_be_split():
    with pytest.raises(DatasetError, match="only reals"):
        hold_out(source("a", 0, 3) + source("b", 0, 3), fraction=0.2, seed=0)


@pytest.mark.parametrize("fraction", [0, 1, -0.1])
def test_a_fraction_outside_0_to_1_is_a_wrong_call(fraction):
    with pytest.raises(ValueError, match="fraction"):
        hold_out(source("a", 0, 1) + source("b", 1, 1), fraction=fraction, seed=0)


def test_the_hash_survives_scale_and_encoding_and_tells_pictures_apart(photo):
    image = photo(320, 240)
    assert near_duplicates([difference_hash(image), difference_hash(image.resize((97, 71)))])
    other = difference_hash(photo(320, 240, seed=1))
    assert not near_duplicates([difference_hash(image), other])


def test_the_difference_hash_by_hand():
    rising = Image.new("L", (9, 8))
    rising.putdata([x * 10 for _ in range(8) for x in range(9)])
    assert difference_hash(rising) == 2**64 - 1
    assert difference_hash(Image.new("L", (9, 8))) == 0
    assert near_duplicates([0, 2**64 - 1, 0b111111, 0b1111111]) == [(0, 2), (2, 3)]
