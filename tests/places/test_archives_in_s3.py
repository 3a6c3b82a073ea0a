"""Archives in a bucket: only what is wanted is read, and a fault is a row behind the scored."""

import io
import tarfile
import zipfile

import pytest

from fakescan.places import s3
from fakescan.places.access import Access, PlaceProblem
from fakescan.places.store import store_of
from fakescan.records import Verdict
from fakescan.scan.archive import ArchiveLimits
from fakescan.scan.selection import Selection
from store_scans import QUICK, names, run
from stores import encoded


def tar_of(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def test_shards_of_a_webdataset_are_read_from_the_store(bucket, session):
    members = {}
    for i in range(3):
        members |= {f"{i:06}.png": encoded(60 * i), f"{i:06}.json": b"{}"}
    for shard in range(2):
        bucket.put(f"photos/shard-{shard}.tar", tar_of(members))
    findings, summary = run(
        f"s3://{bucket.name}/photos",
        session,
        selection=Selection(archives=True),
        archives=ArchiveLimits(),
    )
    assert names(findings, bucket) == [
        f"shard-{shard}.tar!/{i:06}.png" for shard in range(2) for i in range(3)
    ]
    assert {f.error for f in findings} == {None}
    assert summary.skipped == {"not an image": 6}


def test_of_a_zip_in_the_store_only_the_members_that_are_wanted_are_fetched(bucket, session):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("film.bin", bytes(30_000_000))
        archive.writestr("a.png", encoded(255))
    bucket.put("photos/all.zip", stream.getvalue())
    findings, _ = run(
        f"s3://{bucket.name}/photos/all.zip",
        session,
        selection=Selection(archives=True, exclude=("*.bin",)),
        archives=ArchiveLimits(),
    )
    assert [f.verdict for f in findings] == [Verdict.FAKE]
    ranges = [r.split("=")[1].split("-") for _, _, r in bucket.faults.asked if r]
    assert 0 < sum(int(end) - int(start) + 1 for start, end in ranges) < 15_000_000


def test_an_archive_that_comes_a_byte_now_and_then_is_left_after_the_timeout(bucket, session):
    place = bucket.put("photos/all.tar", tar_of({"a.png": encoded(9)}))
    bucket.faults.plan("all.tar", "slow", method="GET")
    findings, _ = run(
        place,
        session,
        selection=Selection(archives=True),
        archives=ArchiveLimits(),
        access=Access(attempts=1, timeout_s=2.0),
    )
    reason = "not read further: the store did not answer in time"
    assert [(f.path, f.error) for f in findings] == [(place, reason)]


def test_an_archive_that_is_replaced_while_it_is_read_is_noticed(bucket, monkeypatch):
    monkeypatch.setattr(s3, "BLOCK_BYTES", 100)
    place = bucket.put("photos/all.tar", bytes(1000))
    file = store_of(place, QUICK).open(place)
    assert file.read(10) == bytes(10)
    bucket.put("photos/all.tar", b"x" * 1000)
    file.seek(500)
    with pytest.raises(PlaceProblem, match=r"^the object changed while it was read$"):
        file.read(10)


def test_an_archive_whose_store_fails_midway_is_a_row_behind_its_members(bucket, session):
    members = {f"{i}.bmp": encoded(9, "BMP", (1500, 1500)) for i in range(3)}
    place = bucket.put("photos/all.tar", tar_of(members))
    bucket.faults.plan("all.tar", "none", times=2, method="GET")  # the first two are answered
    bucket.faults.plan("all.tar", "forbidden", method="GET")
    findings, _ = run(place, session, selection=Selection(archives=True), archives=ArchiveLimits())
    assert findings[0].verdict is Verdict.REAL
    assert (findings[-1].path, findings[-1].error) == (
        place,
        "not read further: no permission to read it",
    )
