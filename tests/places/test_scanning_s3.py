"""Scans of a bucket: the same rows as on a disk, no more requests than needed, and every fault."""

import json

import pytest

from fakescan.cli import main
from fakescan.places import s3, store
from fakescan.places.access import Access
from fakescan.places.store import store_of
from fakescan.records import Summary, Verdict
from fakescan.scan.cache import ScoreCache
from fakescan.scan.pipeline import ScanSettings, scan
from fakescan.scan.recall import scorer_of
from fakescan.scan.selection import Selection
from store_scans import QUICK, names, run
from stores import encoded, free_port


def test_a_bucket_gives_the_rows_that_its_files_give_on_a_disk(filled, session, tmp_path):
    for key in ("dark.png", "grey", "sub/bright.jpg", "broken.png", "notes.txt"):
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(filled.get(f"photos/{key}"))
    remote, summary = run(f"s3://{filled.name}/photos", session, hashes=True)
    local, on_disk = run(str(tmp_path), session, hashes=True)
    assert names(remote, filled) == ["broken.png", "dark.png", "grey", "sub/bright.jpg"]
    fields = ("verdict", "score", "logit", "width", "height", "format", "error", "sha256")
    rows = [{name: getattr(f, name) for name in fields} for f in remote]
    assert rows == [{name: getattr(f, name) for name in fields} for f in local]
    assert summary.skipped == on_disk.skipped == {"not an image": 1}
    assert summary.is_complete


def test_only_the_first_bytes_are_read_of_what_is_no_image(filled, session):
    run(f"s3://{filled.name}/photos", session)
    asked = [(path, range_) for _, path, range_ in filled.faults.asked if "notes" in path]
    assert asked == [(f"/{filled.name}/photos/notes.txt", "bytes=0-63")]


def test_a_second_scan_lists_and_reads_no_image_unless_its_etag_has_changed(
    filled, session, tmp_path
):
    with ScoreCache(tmp_path / "scores.sqlite", scorer_of(session)) as cache:
        target = f"s3://{filled.name}/photos"
        first, _ = run(target, session, cache)
        filled.faults.clear()
        second, summary = run(target, session, cache)
        assert second == first
        assert summary.cached == 3
        assert filled.faults.count("dark.png") == 0
        filled.put("photos/dark.png", encoded(255))
        third, summary = run(target, session, cache)
        assert third[1].verdict is Verdict.FAKE
        assert summary.cached == 2  # the others, by their ETags
        assert filled.faults.count("bright.jpg") == 0


def test_what_is_selected_below_a_prefix_is_what_patterns_depth_dots_and_size_say(bucket, session):
    for key in ("a.png", "no/b.png", "x/y/z/c.png", ".dot/d.png", "e.gif"):
        bucket.put(f"photos/{key}", encoded(9))
    bucket.put("photos/large.bmp", encoded(9, "BMP", (200, 200)))
    selection = Selection(exclude=("no/", "*.gif"), max_depth=2, max_filesize=0.1)
    findings, summary = run(f"s3://{bucket.name}/photos", session, selection=selection)
    assert names(findings, bucket) == ["a.png"]
    assert summary.skipped == {
        "excluded by a pattern": 2,
        "folder below --max-depth": 1,
        "hidden": 1,
        "file above --max-filesize": 1,
    }
    assert bucket.faults.count("large.bmp") == 0


def test_reads_go_on_at_once_and_rows_stay_in_order(bucket, session):
    for i in range(40):
        bucket.put(f"photos/{i:02}.png", encoded(i))
    findings, _ = run(f"s3://{bucket.name}/photos", session, access=Access(readers=8))
    assert names(findings, bucket) == [f"{i:02}.png" for i in range(40)]
    assert 3 <= bucket.faults.most_at_once <= 8 + 8


def test_many_keys_in_many_folders_are_listed_in_order_once(bucket, monkeypatch):
    monkeypatch.setattr(s3, "PAGE", 20)
    keys = [f"photos/{f}/{i:03}.png" for f in ("a", "a.b", "a-b", "é") for i in range(50)]
    keys += [f"photos/{i:04}.png" for i in range(30)]
    image = encoded(7)
    for key in keys:
        bucket.put(key, image)
    target = f"s3://{bucket.name}/photos"
    found = [e.uri.split("/", 3)[3] for e in store_of(target, QUICK).entries(target)]
    assert found == sorted(keys, key=str.encode)


@pytest.mark.parametrize("fault", ["busy", "cut"])
def test_a_fault_that_passes_is_not_seen(filled, session, fault):
    filled.faults.plan("dark.png", fault, times=2, method="GET")
    findings, _ = run(f"s3://{filled.name}/photos", session, access=Access(attempts=4))
    assert findings[1].verdict is Verdict.REAL
    assert filled.faults.count("dark.png") == 3


@pytest.mark.parametrize(
    ("fault", "reason", "asked"),
    [
        ("busy", "the store is busy (SlowDown) (2 attempts)", 2),
        ("cut", "the connection was cut (2 attempts)", 2),
        ("slow", "the store did not answer in time (2 attempts)", 2),
        ("forbidden", "no permission to read it", 1),
        ("expired", "the credentials have expired", 1),
        ("gone", "the object is gone", 1),
    ],
)
def test_a_fault_that_stays_is_one_row_and_the_others_are_scored(
    filled, session, fault, reason, asked
):
    filled.faults.plan("dark.png", fault, method="GET")
    findings, summary = run(f"s3://{filled.name}/photos", session)
    assert [(f.verdict.value, f.error) for f in findings[1:]] == [
        ("error", reason),
        ("uncertain", None),
        ("fake", None),
    ]
    assert filled.faults.count("dark.png") == asked
    assert summary.is_complete


def test_an_object_that_vanishes_after_the_listing_is_a_row(bucket, session):
    for i in range(60):
        bucket.put(f"photos/{i:02}.png", encoded(i))
    access = Access(readers=1, attempts=1)
    summary = Summary()
    settings = ScanSettings(access=access, workers=1)
    findings = scan([f"s3://{bucket.name}/photos"], session, settings, summary)
    next(findings)
    bucket.delete("photos/59.png")
    *_, last = findings
    assert last.error == "the object is gone"


def test_a_listing_that_breaks_off_is_a_row_behind_what_was_scored(bucket, session, monkeypatch):
    monkeypatch.setattr(s3, "PAGE", 20)
    image = encoded(3)
    for i in range(30):
        bucket.put(f"photos/{i:04}.png" if i < 3 else f"photos/{i:04}.txt", image)
    bucket.faults.plan("continuation-token", "expired")
    findings, _ = run(
        f"s3://{bucket.name}/photos", session, selection=Selection(include=("*.png",))
    )
    assert [f.verdict.value for f in findings] == ["real"] * 3 + ["error"]
    assert findings[-1].error == ("not listed beyond 20 objects: the credentials have expired")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("expired", "the credentials have expired"),
        ("forbidden", "no permission to read it"),
        ("unknown key", "the credentials are not valid there"),
        ("region", "it is in another region; set AWS_DEFAULT_REGION"),
        ("busy", "the store is busy (503) (2 attempts)"),
    ],
)
@pytest.mark.parametrize("what", ["photos", "photos/dark.png"])
def test_a_store_that_cannot_be_used_is_one_line_without_secrets(
    filled, tiny, capfd, fault, reason, what
):
    filled.faults.plan(filled.name, fault)
    place = f"s3://{filled.name}/{what}"
    assert main(["scan", "--model", str(tiny), "--attempts", "2", place]) == 2
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"fakescan: {place}: {reason}\n")


def test_a_place_that_does_not_exist_is_one_line(filled, tiny, capfd):
    for place, reason in (
        (f"s3://{filled.name}/nothing/", "nothing has this name, or begins with it"),
        ("s3://no-such-bucket/x", "no such bucket"),
        ("ftp://host/x", "no place that can be read; known: s3://"),
    ):
        assert main(["scan", "--model", str(tiny), place]) == 2
        assert capfd.readouterr().err.startswith(f"fakescan: {place}: {reason}")


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("what", ["b/photos/", "b/photos/dark.png"])
def test_a_store_that_cannot_be_reached_is_one_line(tiny, capfd, monkeypatch, what):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(store, "_store", store._store.__wrapped__)  # the others' are reached
    assert main(["scan", "--model", str(tiny), "--attempts", "2", f"s3://{what}"]) == 2
    out, err = capfd.readouterr()
    reason = "the store cannot be reached (2 attempts); is AWS_ENDPOINT_URL right?"
    assert (out, err) == ("", f"fakescan: s3://{what}: {reason}\n")


def test_an_empty_bucket_is_scanned_like_an_empty_folder(bucket, tiny, capfd):
    assert main(["scan", "--model", str(tiny), f"s3://{bucket.name}"]) == 0
    assert "warning: no images found" in capfd.readouterr().err


def test_a_brace_pattern_names_objects_in_its_order(bucket, tiny, tmp_path):
    for i in range(8, 12):
        bucket.put(f"photos/p-{i:03}.png", encoded(20 * i))
    output = tmp_path / "r.jsonl"
    place = f"s3://{bucket.name}/photos/p-{{009..011}}.png"
    assert main(["scan", "-q", "--model", str(tiny), place, "-o", str(output)]) == 0
    found = [json.loads(line)["path"] for line in output.read_text().splitlines()]
    assert found == [f"s3://{bucket.name}/photos/p-{i:03}.png" for i in range(9, 12)]


def test_the_first_of_a_brace_pattern_that_is_not_there_is_one_line(filled, tiny, capfd):
    place = f"s3://{filled.name}/photos/{{dark,none,neither}}.png"
    assert main(["scan", "--model", str(tiny), place]) == 2
    assert capfd.readouterr().err == (
        f"fakescan: s3://{filled.name}/photos/none.png: nothing has this name, or begins with it\n"
    )
