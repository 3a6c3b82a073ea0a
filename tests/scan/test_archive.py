import bz2
import gzip
import io
import lzma
import os
import tarfile
import time
import tracemalloc
import zipfile
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fakescan.errors import ConfigError
from fakescan.records import Summary, Verdict
from fakescan.scan import archive as archiving
from fakescan.scan import selection as selecting
from fakescan.scan import walk as walking
from fakescan.scan.archive import ArchiveLimits, Archives, Member
from fakescan.scan.pipeline import ScanSettings, scan
from fakescan.scan.selection import Selection
from fakescan.session import OnnxSession

PACK = {"tar": bytes, "tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}
KINDS = ["zip", *PACK]


def png(colour="white"):
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), colour).save(stream, "PNG")
    return stream.getvalue()


PNG = png()


def write(path, members):
    """An archive of the kind that its name says, from names and bytes."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                archive.writestr(name, data)
        return path
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    path.write_bytes(PACK[path.name.split(".", 1)[1]](stream.getvalue()))
    return path


def unpack(path, limits=None, **selection):
    skipped = Counter()
    chosen = Selection(archives=True, **selection)
    found = Archives(limits or ArchiveLimits(), chosen, skipped).members(str(path))
    return [(m.path.removeprefix(str(path)), m.error or m.data) for m in found], skipped


@pytest.mark.parametrize("kind", KINDS)
def test_images_come_in_the_order_of_the_archive(tmp_path, kind):
    members = [("b/x.png", PNG), ("notes.txt", b"no"), ("a", PNG), ("c.JPG", b"")]
    found, skipped = unpack(write(tmp_path / f"a.{kind}", members))
    assert found == [("!/b/x.png", PNG), ("!/a", PNG), ("!/c.JPG", b"")]
    assert skipped == {walking.NOT_IMAGE: 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_selection_holds_inside_archives(tmp_path, kind):
    members = [
        *[("a.png", PNG), ("a.gif", PNG), ("out/a.png", PNG), ("__MACOSX/._a.png", PNG)],
        *[(".h/a.png", PNG), ("in.zip", b"PK"), ("large.png", PNG + bytes(5000))],
    ]
    path = write(tmp_path / f"a.{kind}", members)
    found, skipped = unpack(path, exclude=("out", "*.gif"), max_filesize=0.002)
    assert found == [("!/a.png", PNG)]
    assert skipped == {
        selecting.EXCLUDED: 2, walking.HIDDEN: 2, archiving.NESTED: 1, walking.TOO_LARGE: 1,
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_climb_out_are_labels_and_nothing_is_written(tmp_path, kind, tiny):
    folder = tmp_path / "in"
    folder.mkdir()
    members = [("../../evil.png", PNG), ("/abs.png", PNG)]
    path = write(folder / f"a.{kind}", members)
    found = list(
        scan([str(path)], OnnxSession(tiny), ScanSettings(archives=ArchiveLimits()), Summary())
    )
    assert [f.path.removeprefix(str(path)) for f in found] == ["!/../../evil.png", "!//abs.png"]
    assert {f.verdict for f in found} == {Verdict.FAKE}
    assert [p.name for p in tmp_path.rglob("*")] == ["in", path.name]


@pytest.mark.parametrize("kind", KINDS)
def test_more_members_than_allowed_end_the_archive_with_a_row(tmp_path, kind):
    path = write(tmp_path / f"a.{kind}", [(f"{i}.png", PNG) for i in range(5)])
    found, _ = unpack(path, ArchiveLimits(members=3))
    assert [name for name, _ in found] == ["!/0.png", "!/1.png", "!/2.png", ""]
    assert found[-1] == ("", "more than 3 members (--archive-members)")


@pytest.mark.parametrize("kind", KINDS)
def test_more_bytes_than_allowed_end_the_archive_with_a_row(tmp_path, kind):
    noise = bytes(range(256)) * 400
    path = write(tmp_path / f"a.{kind}", [(f"{i}.png", noise) for i in range(5)])
    found, _ = unpack(path, ArchiveLimits(megabytes=0.25))
    assert [name for name, _ in found] == ["!/0.png", "!/1.png", ""]
    assert found[-1][1] == "more than 0.25 MB unpacked (--archive-megabytes)"


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("name", ["bomb.png", "bomb.bin"])
def test_a_bomb_costs_a_row(tmp_path, kind, name):
    path = write(tmp_path / f"a.{kind}", [("a.png", PNG), (name, bytes(30_000_000))])
    found, _ = unpack(path)
    assert found[0] == ("!/a.png", PNG)
    if kind == "zip" and name == "bomb.bin":
        assert len(found) == 1  # its first bytes are no image's, so that the rest is never unpacked
    else:
        assert found[1:] == [("", "unpacks to more than 200 times its size (--archive-ratio)")]


def test_a_flat_picture_that_packs_very_well_is_no_bomb(tmp_path):
    data = PNG + bytes(10_000_000)
    assert unpack(write(tmp_path / "a.zip", [("flat.bmp", data)]))[0] == [("!/flat.bmp", data)]


def test_a_header_that_asks_for_gigabytes_is_refused_before_they_are_read(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 3_000_000_000
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(1_000_000)))
    found, _ = unpack(tmp_path / "a.tar.gz")
    assert found == [("", "damaged archive: a header of 3000000000 bytes")]


def test_links_and_devices_in_archives_are_counted_and_not_followed(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("x.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert unpack(tmp_path / "a.tar") == ([], {walking.NOT_REGULAR: 4})
    link = zipfile.ZipInfo("x.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert unpack(tmp_path / "a.zip") == ([], {walking.NOT_REGULAR: 1})


def test_an_encrypted_member_is_a_row_and_the_others_are_read(tmp_path):
    path = write(tmp_path / "a.zip", [("a.png", PNG), ("b.png", PNG)])
    data = bytearray(path.read_bytes())
    for start in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[start] |= 1
    path.write_bytes(data)
    assert unpack(path)[0] == [("!/a.png", "encrypted"), ("!/b.png", PNG)]


def test_a_member_with_a_wrong_sum_is_a_row_and_the_others_are_read(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", PNG)
        archive.writestr("b.png", PNG)
    data = bytearray(path.read_bytes())
    data[data.index(PNG) + 30] ^= 255
    path.write_bytes(data)
    found, _ = unpack(path)
    assert found[0][0] == "!/a.png"
    assert found[0][1].startswith("damaged archive: Bad CRC-32")
    assert found[1:] == [("!/b.png", PNG)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [b"", b"nonsense" * 200, b"PK\x03\x04nonsense"])
def test_what_is_no_archive_is_a_row(tmp_path, kind, data):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data)
    ((name, reason),) = unpack(path)[0]
    assert name == ""
    assert reason.startswith("damaged archive: ")


def test_without_archives_they_are_files_like_others(tmp_path, tiny):
    write(tmp_path / "a.zip", [("a.png", PNG)])
    summary = Summary()
    assert list(scan([str(tmp_path)], OnnxSession(tiny), ScanSettings(), summary)) == []
    assert summary.skipped == {walking.NOT_IMAGE: 1}


def test_members_and_files_are_scored_alike(tmp_path, tiny):
    (tmp_path / "x.png").write_bytes(png("grey"))
    write(tmp_path / "a.tar.gz", [("x.png", png("grey")), ("y.png", b"junk")])
    limits, summary = ArchiveLimits(), Summary()
    chosen = ScanSettings(selection=Selection(archives=True), archives=limits, hashes=True)
    inside, broken, outside = scan([str(tmp_path)], OnnxSession(tiny), chosen, summary)
    assert inside.path.endswith("a.tar.gz!/x.png")
    assert (inside.score, inside.sha256) == (outside.score, outside.sha256)
    assert broken.verdict is Verdict.ERROR
    assert len({inside.sha256, broken.sha256}) == 2


@pytest.mark.parametrize("capacity", [1, 150, 10**6])
def test_members_wait_outside_while_others_are_decoded(tmp_path, tiny, monkeypatch, capacity):
    monkeypatch.setattr("fakescan.scan.pipeline.MEMBERS_AHEAD_BYTES", capacity)
    path = write(tmp_path / "a.tar", [(f"{i:02}.png", PNG) for i in range(20)])
    chosen = ScanSettings(archives=ArchiveLimits(), workers=3)
    found = list(scan([str(path)], OnnxSession(tiny), chosen, Summary()))
    assert [f.path[-6:] for f in found] == [f"{i:02}.png" for i in range(20)]
    assert {f.verdict for f in found} == {Verdict.FAKE}


def test_a_tar_is_read_member_by_member(tmp_path):
    path = write(tmp_path / "a.tar.gz", [(f"{i}.png", os.urandom(4_000_000)) for i in range(12)])
    members = Archives(ArchiveLimits(), Selection(), Counter()).members(str(path))
    tracemalloc.start()
    assert sum(len(member.data) for member in members) == 48_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def late(path):
    """What an archive gives when there is hardly any time."""
    found = Archives(ArchiveLimits(), Selection(), Counter(), timeout_s=1e-9).members(str(path))
    return [(member.path, member.error) for member in found]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_takes_too_long_is_a_row(tmp_path, kind):
    path = write(tmp_path / f"a.{kind}", [("a.png", PNG), ("b.png", PNG)])
    assert late(path) == [(str(path), "took longer than 1e-09 s to unpack (--timeout)")]


@pytest.mark.parametrize("pack", PACK)
def test_what_unpacks_to_nothing_for_ever_ends_too(tmp_path, pack):
    """Python's readers look for the first byte through any number of empty streams."""
    path = tmp_path / f"a.{pack}"
    path.write_bytes(PACK[pack](b"") * 100_000 or bytes(10_000))
    assert late(path)[0][1] == "took longer than 1e-09 s to unpack (--timeout)"


def test_the_time_of_a_member_does_not_count_how_long_the_one_before_waited(tmp_path):
    path = write(tmp_path / "a.tar", [(f"{i}.png", PNG) for i in range(3)])
    archives = Archives(ArchiveLimits(), Selection(), Counter(), timeout_s=1.0)
    members = archives.members(str(path))
    first = next(members)
    time.sleep(1.1)
    assert [first.error, *(member.error for member in members)] == [None] * 3


def test_a_scan_hands_its_timeout_to_archives(tmp_path, tiny):
    path = write(tmp_path / "a.zip", [("a.png", PNG)])
    settings = ScanSettings(archives=ArchiveLimits(), timeout_s=1e-9)
    (finding,) = scan([str(path)], OnnxSession(tiny), settings, Summary())
    assert finding.path == str(path)
    assert finding.error == "took longer than 1e-09 s to unpack (--timeout)"


def test_headers_in_front_of_headers_are_damage(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1
    (tmp_path / "a.tar").write_bytes((info.tobuf() + b"x".ljust(512, b"\0")) * 2000)
    ((name, reason),) = unpack(tmp_path / "a.tar")[0]
    assert name == ""
    assert reason.startswith("damaged archive: ")


@pytest.mark.parametrize("name", ["members", "megabytes", "ratio"])
def test_a_limit_is_positive(name):
    with pytest.raises(ConfigError, match=f"archive_{name}: must be positive"):
        ArchiveLimits(**{name: 0})


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(KINDS), cut=st.integers(0, 700), flips=st.lists(st.integers(0, 4000)))
def test_no_damage_to_an_archive_breaks_a_scan(tmp_path_factory, kind, cut, flips):
    path = tmp_path_factory.mktemp("damaged") / f"a.{kind}"
    data = bytearray(write(path, [("a.png", PNG), ("b.txt", b"b" * 300)]).read_bytes())
    for place in flips:
        data[place % len(data)] ^= 0x55
    path.write_bytes(data[: len(data) - cut] if cut else data)
    for name, found in unpack(path)[0]:
        assert name in ("", "!/a.png") or isinstance(found, (bytes, str))
    assert isinstance(Member("x").data, bytes)
