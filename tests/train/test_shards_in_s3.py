"""Training on shards in a bucket: the run of the same shards on a disk, and every fault a line."""

import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from fakescan.cli import main
from fakescan.data import parts, shards
from fakescan.data.parts import read_ahead
from fakescan.data.samples import read_samples
from fakescan.data.shards import find_shards
from fakescan.errors import DatasetError
from fakescan.places.access import Access
from fakescan.train.collect import read_roots
from fakescan.train.run import train
from fakescan.train.shards import ShardIndexer
from shards_made import write_shards
from stores import Bucket

QUICK = Access(attempts=2, timeout_s=2.0)


@pytest.fixture
def bucket(s3, data, tmp_path):
    """Three shards of the labelled folder."""
    faults, port = s3
    faults.clear()
    bucket = Bucket(port, f"b-{uuid.uuid4().hex[:12]}", faults)
    pattern = write_shards(tmp_path / "shards", read_samples(data), 3)
    for path in pattern.parent.glob("*.tar"):
        bucket.put(f"train/{path.name}", path.read_bytes())
    bucket.put("train/readme.txt", b"no shard")
    yield bucket
    bucket.close()
    faults.clear()


@pytest.fixture
def quick(monkeypatch):
    for module in (parts, shards):
        monkeypatch.setattr(module, "Access", lambda: QUICK)


def test_shards_in_a_bucket_give_the_run_of_the_folder_and_are_indexed_once(
    config, data, bucket, tmp_path
):
    place = f"s3://{bucket.name}/train/photos-{{000..002}}.tar"
    config = replace(config, epochs=1)
    train(replace(config, data=(str(data),)), tmp_path / "folder")
    train(replace(config, data=(place,)), tmp_path / "first")
    kept = (tmp_path / "folder" / "checkpoint.safetensors").read_bytes()
    assert (tmp_path / "first" / "checkpoint.safetensors").read_bytes() == kept
    bucket.faults.clear()
    train(replace(config, data=(place,), lr=1e-3), tmp_path / "second")
    assert bucket.faults.count("photos-", "GET") == 0  # all is in the index and the trunk cache


@pytest.mark.parametrize("root", ["train", "train/", "train/*.tar", "train/photos-00[0-2].tar"])
def test_a_folder_or_a_pattern_of_a_bucket_names_its_shards(bucket, root):
    found = [shard.place for shard in find_shards(f"s3://{bucket.name}/{root}")]
    assert found == [f"s3://{bucket.name}/train/photos-{i:03}.tar" for i in range(3)]


def test_images_are_fetched_with_few_requests(bucket):
    samples = read_roots([f"s3://{bucket.name}/train"], (), ShardIndexer())
    samples.sort(key=lambda s: (s.part.shard, s.part.offset))
    bucket.faults.clear()
    read = {sample.key: data for sample, data in read_ahead(samples, lambda s: s.part)}
    assert len(read) == 40
    assert all(data.startswith(b"\x89PNG") for data in read.values())
    assert bucket.faults.count("photos-", "GET") == 3


@pytest.mark.parametrize("fault", ["busy", "cut"])
def test_a_fault_that_passes_is_not_seen(bucket, fault):
    samples = read_roots([f"s3://{bucket.name}/train"], (), ShardIndexer())
    bucket.faults.plan("photos-001", fault, times=2, method="GET")
    assert len(list(read_ahead(samples, lambda s: s.part))) == 40


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("busy", r"photos-001\.tar: the store is busy \(SlowDown\) \(2 attempts\)"),
        ("slow", r"photos-001\.tar: the store did not answer in time \(2 attempts\)"),
        ("forbidden", r"photos-001\.tar: no permission to read it"),
        ("expired", r"photos-001\.tar: the credentials have expired"),
        ("gone", r"photos-001\.tar: the object is gone"),
    ],
)
@pytest.mark.parametrize("when", ["indexed", "read"])
def test_a_fault_that_stays_stops_the_run_in_one_line(bucket, quick, fault, reason, when):
    roots = [f"s3://{bucket.name}/train"]
    if when == "indexed":
        bucket.faults.plan("photos-001", fault, method="GET")
        with pytest.raises(DatasetError, match=f"^s3://{bucket.name}/train/{reason}$"):
            read_roots(roots, (), ShardIndexer())
    else:
        samples = read_roots(roots, (), ShardIndexer())
        bucket.faults.plan("photos-001", fault, method="GET")
        with pytest.raises(DatasetError, match=f"^s3://{bucket.name}/train/{reason}$"):
            list(read_ahead(samples, lambda s: s.part))


def test_a_shard_that_is_replaced_after_it_was_indexed_is_refused(bucket):
    samples = read_roots([f"s3://{bucket.name}/train"], (), ShardIndexer())
    bucket.put("train/photos-002.tar", bytes(200_000))
    with pytest.raises(
        DatasetError, match=r"photos-002\.tar: the object changed while it was read"
    ):
        list(read_ahead(samples, lambda s: s.part))


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        (
            "s3://{bucket}/train/none-{{0..3}}.tar",
            "s3://{bucket}/train/none-{{0..3}}.tar: the object is gone",
        ),
        ("s3://{bucket}/none/", "s3://{bucket}/none/: the object is gone"),
        ("s3://{bucket}/train/x-*.tar", "s3://{bucket}/train/x-*.tar: no tar shards"),
        ("s3://no-such-bucket/x.tar", "s3://no-such-bucket/x.tar: no such bucket"),
        ("ftp://host/x.tar", "ftp://host/x.tar: no place that can be read; known: s3://"),
    ],
)
def test_shards_that_are_not_there_are_one_line_of_the_command(
    bucket, tmp_path, capfd, root, reason
):
    out = Path(tmp_path / "run")
    command = ["train", root.format(bucket=bucket.name), "--out", str(out), "--device", "cpu"]
    assert main(command) == 2
    assert capfd.readouterr().err.startswith(f"fakescan: {reason.format(bucket=bucket.name)}")
    assert not out.exists()
