"""Tar shards: every image with its label and its bytes, or one line that says what is wrong."""

import io
import os
import tarfile

import pytest

from fakescan.data import parts
from fakescan.data.parts import read_ahead
from fakescan.data.samples import Part
from fakescan.data.shards import Image, base_of, find_shards, index_shard, is_shards, samples_of
from fakescan.errors import DatasetError
from shards_made import write_shard


def read(root):
    shards = find_shards(str(root))
    return samples_of([(shard, index_shard(shard)) for shard in shards], base_of(str(root)))


def test_members_of_one_name_are_an_image_and_what_it_is(tmp_path):
    facts = (
        b'{"label": "fake", "source": "s", "generator": "g", "family": "f", "split": "train",'
        b' "pair": "p", "derived_from": "d", "caption": "a cat", "width": 3}'
    )
    members = [("a/1.jpg", b"one"), ("a/1.json", facts), ("a/2.CLS", b"0\n"), ("a/2.PNG", b"two")]
    path = write_shard(tmp_path / "x.tar", members)
    one, two = read(path)
    assert (one.key, one.label, one.source, one.generator) == ("a/1.jpg", 1, "s", "g")
    assert (one.family, one.split, one.pair, one.derived_from) == ("f", "train", "p", "d")
    assert (two.key, two.label, two.source) == ("a/2.PNG", 0, "a")
    assert one.place == f"{path}!/a/1.jpg"
    data = path.read_bytes()
    for sample, expected in ((one, b"one"), (two, b"two")):
        assert data[sample.part.offset :][: sample.part.size] == expected


@pytest.mark.parametrize(("text", "label"), [("1", 1), ("0", 0), ('"real"', 0), ('"Fake"', 1)])
def test_labels_are_those_of_a_manifest(tmp_path, text, label):
    path = write_shard(
        tmp_path / "x.tar", [("1.jpg", b""), ("1.json", f'{{"label": {text}}}'.encode())]
    )
    assert [s.label for s in read(path)] == [label]


def test_a_tar_of_a_labelled_folder_needs_no_other_members(tmp_path):
    names = ("./sdxl/1_fake/deep/a.jpg", "./phones/0_real/a.jpg", "./phones/0_real/._a.jpg")
    samples = read(write_shard(tmp_path / "x.tar", [(name, b"x") for name in names]))
    assert [(s.key, s.label, s.source) for s in samples] == [
        ("sdxl/1_fake/deep/a.jpg", 1, "sdxl"),
        ("phones/0_real/a.jpg", 0, "phones"),
    ]


def test_what_is_no_image_and_no_regular_member_is_passed_over(tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("folder"), None)
        link = tarfile.TarInfo("9.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for name, data in (
            ("1.jpg", b"x"),
            ("1.txt", b"caption"),
            ("1.mask.png", b"m"),
            ("1.cls", b"1"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert [s.key for s in read(path)] == ["1.jpg"]


def test_a_name_that_two_shards_share_is_told_apart_by_the_shard(tmp_path):
    for folder in ("a", "b"):
        write_shard(tmp_path / folder / "x.tar", [("1.jpg", b""), ("1.cls", b"1")])
    write_shard(tmp_path / "c" / "x.tar", [("2.jpg", b""), ("2.cls", b"0")])
    found = [s.key for s in read(tmp_path / "{a,b,c}" / "x.tar")]
    assert found == ["a/x.tar/1.jpg", "b/x.tar/1.jpg", "2.jpg"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("1.jpg", b"")], r"x\.tar!/1: no label; expected 1\.json or \.cls"),
        ([("1.jpg", b""), ("1.json", b"{}")], r"x\.tar!/1: no label"),
        ([("1.jpg", b""), ("1.cls", b"7")], r"x\.tar!/1\.jpg: label '7'; known: real, fake"),
        ([("1.jpg", b""), ("1.json", b"{")], r"x\.tar!/1\.json: not JSON"),
        ([("1.jpg", b""), ("1.json", b"[" * 100_000)], r"x\.tar!/1\.json: not JSON"),
        ([("1.jpg", b""), ("1.json", b"[]")], r"x\.tar!/1\.json: expected an object"),
        ([("1.jpg", b""), ("1.cls", b"\xff")], r"x\.tar!/1\.cls: not UTF-8"),
        ([("1.jpg", b""), ("1.cls", bytes(2 << 20))], r"x\.tar!/1\.cls: \d+ bytes, too large"),
        ([("1.jpg", b""), ("1.png", b"")], r"x\.tar!/1: 1\.jpg and 1\.png, where one image"),
        ([("1.v2.jpg", b"")], r"x\.tar!/1: 1\.v2\.jpg has a dot in its name"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_names_the_member(tmp_path, members, reason):
    with pytest.raises(DatasetError, match=reason):
        read(write_shard(tmp_path / "x.tar", members))


@pytest.mark.parametrize("keep", ["none of it", "half a header", "half a member", "no end"])
def test_a_shard_that_breaks_off_is_refused(tmp_path, keep):
    members = [(f"{i}.{s}", b"1" * 600) for i in range(3) for s in ("jpg", "cls")]
    path = write_shard(tmp_path / "x.tar", members)
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    sizes = {"none of it": 0, "half a header": last.offset + 200}
    sizes |= {"half a member": last.offset_data + 100, "no end": last.offset_data + 1024}
    os.truncate(path, sizes[keep])
    with pytest.raises(DatasetError, match=r"x\.tar: not a tar, or a damaged one \("):
        read(path)


def test_a_packed_shard_is_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("1.jpg"))
    with pytest.raises(DatasetError, match=r"x\.tar: not a tar, or a damaged one"):
        read(tmp_path / "x.tar")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("s-{0..1}.tar", "01"), ("s-*.tar", "012"), ("s-[12].tar", "12"), ("s-2.tar", "2")],
)
def test_a_pattern_names_shards_in_order(tmp_path, pattern, found):
    for i in range(3):
        write_shard(tmp_path / f"s-{i}.tar", [])
    places = [shard.place for shard in find_shards(str(tmp_path / pattern))]
    assert places == [str(tmp_path / f"s-{i}.tar") for i in found]


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("none.tar", r"none\.tar: cannot be read \(No such file"),
        ("s-{0..1}.tar", r"s-1\.tar: cannot be read"),
        ("x-*.tar", r"x-\*\.tar: no tar shards"),
        ("s-{0..99999999}.tar", "more than 1000000 names"),
    ],
)
def test_shards_that_are_not_there_are_one_line(tmp_path, pattern, reason):
    write_shard(tmp_path / "s-0.tar", [])
    with pytest.raises(DatasetError, match=reason):
        find_shards(str(tmp_path / pattern))


def test_tars_and_places_in_stores_are_shards_and_folders_are_not():
    assert all(map(is_shards, ("a.tar", "b/a-{0..3}.TAR", "s3://b/x", "s3://b/x/a.tar")))
    assert not any(map(is_shards, ("a", "manifest.csv", "a.tar/b")))
    assert [base_of(r) for r in ("a/b-{0..3}.tar", "s3://b/x/", "s3://b/x/*.tar", "a.tar")] == [
        *("a", "s3://b/x", "s3://b/x", ""),
    ]


def test_neighbours_are_read_at_once_and_come_in_order(tmp_path, monkeypatch):
    path = tmp_path / "x.tar"
    path.write_bytes(bytes(range(256)) * 4)
    tag = parts.local_tag(path)
    reads = []
    whole = parts._read
    monkeypatch.setattr(
        parts, "_read", lambda span: reads.append((span.start, span.end)) or whole(span)
    )
    monkeypatch.setattr(parts, "GAP_BYTES", 20)
    monkeypatch.setattr(parts, "SPAN_BYTES", 100)
    wanted = [(0, 10), (0, 10), (25, 10), (60, 5), (90, 30), (700, 300), None, (10, 5), (0, 2)]
    found = read_ahead(wanted, lambda at: at and Part(str(path), *at, tag))
    data = path.read_bytes()
    assert [(at, piece) for at, piece in found] == [
        (at, at and data[at[0] : at[0] + at[1]]) for at in wanted
    ]
    assert sorted(reads) == [(0, 2), (0, 35), (10, 15), (60, 65), (90, 120), (700, 1000)]


def test_a_shard_that_changes_after_it_was_indexed_is_refused(tmp_path):
    path = write_shard(tmp_path / "x.tar", [("1.jpg", b"x"), ("1.cls", b"1")])
    (sample,) = read(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DatasetError, match=r"x\.tar: changed since its images were listed"):
        list(read_ahead([sample], lambda s: s.part))


def test_a_name_that_is_there_twice_in_a_shard_is_refused(tmp_path):
    shard = find_shards(str(write_shard(tmp_path / "x.tar", [])))[0]
    twice = [Image("1.jpg", 0, 1, {"label": "1"})] * 2
    with pytest.raises(DatasetError, match=r"x\.tar!/1\.jpg: this name is there twice"):
        samples_of([(shard, twice)], "")
