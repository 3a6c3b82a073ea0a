"""Reading labelled folders and manifests."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.data.samples import Sample, read_samples, require_both_classes, subsample
from fakescan.errors import DatasetError


def sample(key, label=0, **other):
    return Sample(path=Path(key), key=key, label=label, source=other.pop("source", ""), **other)


@given(order=st.permutations(range(12)), seed=st.integers(0, 3))
def test_the_order_of_the_file_system_does_not_matter(tmp_path_factory, order, seed):
    names = [f"{'real' if i % 2 else 'fake'}/{'ab'[i % 3 % 2]}/{i * 7 % 5}-{i}.png" for i in order]
    root = tmp_path_factory.mktemp("tree")
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    samples = read_samples(root)
    assert [s.key for s in samples] == sorted(names)
    kept = subsample(samples, per_label=2, seed=seed)
    assert kept == subsample(list(reversed(samples)), per_label=2, seed=seed)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 5))
def test_a_smaller_subset_lies_inside_a_larger_one(few, more, seed):
    samples = [sample(f"{i}.png", label=i % 2) for i in range(30)]
    few, more = sorted((few, more))
    small, large = (
        {s.key for s in subsample(samples, per_label=n, seed=seed)} for n in (few, more)
    )
    assert small <= large
    assert len(large) == 2 * min(more, 15)


def test_another_seed_gives_another_subset():
    samples = [sample(f"{i}.png") for i in range(100)]
    first, second = (subsample(samples, per_label=10, seed=seed) for seed in (0, 1))
    assert first != second


def test_both_members_of_a_pair_are_in_a_subset_or_neither():
    samples = [sample(f"{i}-{k}.png", label=k, pair=f"p{i}") for i in range(40) for k in (0, 1)]
    kept = subsample(samples, per_label=7, seed=0)
    assert {s.pair for s in kept if s.label == 0} == {s.pair for s in kept if s.label == 1}


MANIFEST = """path,label,split,source,generator,licence,derived_from
a/1.rcc_9,real,train,cameras,,CC0,
b/0_x.png,fake,dev,gen,SD 1.4,CC0,
c/2.png,fake,train,gen,SD 1.4,CC0,a/1.rcc_9
"""


def write_manifest(tmp_path, text):
    (tmp_path / "manifest.csv").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_manifest_is_read_whatever_the_suffix_of_its_files(tmp_path):
    first, second, third = read_samples(write_manifest(tmp_path, MANIFEST))
    assert first == Sample(
        path=tmp_path / "a/1.rcc_9", key="a/1.rcc_9", label=0, source="cameras", split="train"
    )
    assert (second.split, second.generator, second.label) == ("dev", "SD 1.4", 1)
    assert third.derived_from == first.key


def test_a_manifest_file_may_be_named_itself(tmp_path):
    root = write_manifest(tmp_path, "\ufeff" + MANIFEST)  # with the mark of spreadsheets
    assert read_samples(root / "manifest.csv") == read_samples(root)


@pytest.mark.parametrize(
    ("split", "expected"), [(("train",), 2), (("dev",), 1), (("dev", "train"), 3), (None, 3)]
)
def test_splits_are_chosen_by_name(tmp_path, split, expected):
    assert len(read_samples(write_manifest(tmp_path, MANIFEST), split=split)) == expected


def test_a_folder_can_name_the_split(tree):
    root = tree("train/x/real/1.png", "val/x/real/2.png")
    assert [s.key for s in read_samples(root, split=("val",))] == ["val/x/real/2.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,split\na,b\n", "no column label; there are: path, split"),
        ("", "no column label and path"),
        ("path,label\na.png,cat\n", "line 2: label 'cat'; known: real, fake"),
        ("path,label\na.png\n", "line 2: label ''"),
        ("path,label\n,real\n", "line 2: no path"),
        ("path,label\na.png,real\n./a.png,fake\n", "line 3: 'a.png' is there twice"),
        ("path,label\n", "no labelled images"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said_in_one_line(tmp_path, text, message):
    with pytest.raises(DatasetError) as caught:
        read_samples(write_manifest(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_does_not_exist_or_holds_nothing_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        read_samples(tmp_path / "none")
    with pytest.raises(DatasetError, match="no labelled images"):
        read_samples(tmp_path)


def test_a_split_that_does_not_exist_is_answered_with_those_that_do(tmp_path):
    root = write_manifest(tmp_path, MANIFEST)
    with pytest.raises(DatasetError, match="no sample of split test; known: dev, train"):
        read_samples(root, split=("test",))


def test_paths_need_not_be_utf8(tmp_path):
    (tmp_path / "manifest.csv").write_bytes(b"path,label\ncaf\xe9.png,real\n")
    (only,) = read_samples(tmp_path)
    assert only.key == "caf\udce9.png"
    assert subsample([only], per_label=1, seed=0) == [only]


@pytest.mark.parametrize(
    ("labels", "found"), [([0, 0], "only reals"), ([1], "only fakes"), ([], "no images")]
)
def test_one_class_alone_is_refused(labels, found):
    with pytest.raises(DatasetError, match=f"DATA: {found}; both"):
        require_both_classes([sample(f"{i}", label) for i, label in enumerate(labels)], "DATA")


def test_both_classes_are_enough():
    require_both_classes([sample("a", 0), sample("b", 1)], "DATA")
