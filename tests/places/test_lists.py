"""Lists of places: Parquet, CSV and text, here and in a store, with lines that name nothing."""

import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pytest
from pyarrow import parquet

from fakescan.errors import PlaceError
from fakescan.places.access import Access
from fakescan.records import Shard, Summary
from fakescan.scan.pipeline import ScanSettings, scan
from fakescan.scan.urilist import UriList, check_list, is_uri_list
from fakescan.session import OnnxSession
from stores import encoded

QUICK = Access(attempts=2, timeout_s=2.0)


@pytest.fixture(scope="module")
def session(tiny):
    return OnnxSession(tiny)


def places(filled, tmp_path):
    (tmp_path / "here.png").write_bytes(encoded(255))
    return [
        f"s3://{filled.name}/photos/dark.png",
        "",
        f"s3://{filled.name}/photos/none.png",
        "gopher://x/y.png",
        str(tmp_path / "here.png"),
        f"s3://{filled.name}/photos/sub/",
    ]


def written(lines, path, kind):
    if kind == "parquet":
        column = pa.array([line or None for line in lines])
        parquet.write_table(pa.table({"id": range(len(lines)), "uri": column}), path)
    elif kind == "csv":
        path.write_text("id,url\n" + "".join(f"{i},{line}\n" for i, line in enumerate(lines)))
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("is_stored", [False, True])
def test_a_column_of_places_is_scanned_and_bad_lines_are_rows(
    filled, session, tmp_path, kind, is_stored
):
    path = written(places(filled, tmp_path), tmp_path / f"list.{kind}", kind)
    source = filled.put(path.name, path.read_bytes()) if is_stored else str(path)
    settings = ScanSettings(access=QUICK)
    findings = list(scan([UriList(source, QUICK)], session, settings, Summary()))
    bucket = f"s3://{filled.name}/photos"
    assert [(f.path, f.verdict.value, f.error) for f in findings] == [
        (f"{bucket}/dark.png", "real", None),
        (f"{source}:2", "error", "no path and no URI in this line"),
        (f"{bucket}/none.png", "error", "the object is gone"),
        ("gopher://x/y.png", "error", findings[3].error),
        (str(tmp_path / "here.png"), "fake", None),
        (f"{bucket}/sub/bright.jpg", "fake", None),
    ]
    assert findings[3].error.startswith("no place that can be read; known: s3://")


def test_lines_of_uris_are_a_list_that_is_read_piece_by_piece(filled, session, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(f"s3://{filled.name}/photos/dark.png\r\n\ns3://{filled.name}/photos/grey\n")
    assert is_uri_list(str(path))
    listed = UriList(str(path), QUICK)
    findings = list(scan([listed], session, ScanSettings(access=QUICK), Summary()))
    assert [f.verdict.value for f in findings] == ["real", "uncertain"]


def test_shards_of_a_list_ask_for_their_own_objects_only_and_see_one_listing(
    filled, session, tmp_path
):
    lines = [f"s3://{filled.name}/photos/{name}" for name in ("dark.png", "grey", "none.png")]
    lines += [f"s3://{filled.name}/photos/sub/", f"s3://{filled.name}/photos"]
    path = written(lines, tmp_path / "list.csv", "csv")
    found, listings = [], []
    for number in (1, 2, 3):
        settings = ScanSettings(access=QUICK, shard=Shard(number=number, count=3))
        summary = Summary()
        found += scan([UriList(str(path), QUICK)], session, settings, summary)
        listings.append(summary.listing)
    assert sorted((f.path.split("/", 3)[3], f.error) for f in found) == [
        ("photos", "a folder; in a list for --shard it must end with /"),
        ("photos/dark.png", None),
        ("photos/grey", None),
        ("photos/none.png", "the object is gone"),
        ("photos/sub/bright.jpg", None),
    ]
    assert [filled.faults.count(name, "HEAD") for name in ("dark.png", "grey")] == [1, 1]
    assert listings[0] == listings[1] == listings[2]
    assert listings[0].count == 5


def test_addresses_on_the_web_are_read_and_never_shown_with_their_signature(session, tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(255))
    handler = partial(Quiet, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        targets = [f"{address}/a.png?sig=secret", f"{address}/none.png"]
        found = list(scan(targets, session, ScanSettings(access=QUICK), Summary()))
    finally:
        server.shutdown()
        server.server_close()
    assert [(f.path, f.verdict.value, f.error) for f in found] == [
        (f"{address}/a.png?sig=...", "fake", None),
        (f"{address}/none.png", "error", "the object is gone"),
    ]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_who_leaves_a_scan_does_not_wait_for_a_slow_store(bucket, session):
    for i in range(10):  # enough for rows while slow ones are ahead
        bucket.put(f"photos/a{i}.png", encoded(0))
    for i in range(6):
        bucket.put(f"photos/slow-{i}.bmp", encoded(0, "BMP", (100, 100)))  # 50 minutes each
    bucket.faults.plan("slow-", "slow", method="GET")
    settings = ScanSettings(access=Access(readers=2, timeout_s=60), workers=1)
    findings = scan([f"s3://{bucket.name}/photos"], session, settings, Summary())
    rows, give_up = 0, time.monotonic() + 10
    while not bucket.faults.count("slow-"):  # nothing comes after the tenth row but minutes later
        assert time.monotonic() < give_up
        if rows < 10:
            assert next(findings).verdict.value == "real"
            rows += 1
    findings.close()
    del findings
    give_up = time.monotonic() + 10
    while any(t.name.startswith("decode") for t in threading.enumerate()):
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_lines_of_paths_are_none_and_neither_is_standard_input(tmp_path):
    (tmp_path / "list.txt").write_text("photos/a.png\n")
    assert not is_uri_list(str(tmp_path / "list.txt"))
    assert not is_uri_list(str(tmp_path / "missing.txt"))
    assert not is_uri_list("-")


def test_a_list_without_a_column_of_places_is_refused_with_the_columns_it_has(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("name,size\na,1\n")
    with pytest.raises(PlaceError, match=r"no column of places; it has name, size, and one should"):
        check_list(UriList(str(path), QUICK))


def test_a_list_that_is_no_table_is_refused(tmp_path):
    path = tmp_path / "list.parquet"
    path.write_text("s3://b/a.png\n")
    with pytest.raises(PlaceError, match=r"list\.parquet: not a parquet list that can be read"):
        check_list(UriList(str(path), QUICK))


def test_a_missing_list_is_refused(tmp_path, bucket):
    with pytest.raises(PlaceError, match="cannot be read"):
        check_list(UriList(str(tmp_path / "none.csv"), QUICK))
    with pytest.raises(PlaceError, match="the object is gone"):
        check_list(UriList(f"s3://{bucket.name}/none.csv", QUICK))
