import io
import subprocess
import sys

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.errors import ConfigError, PlaceError
from fakescan.places.access import Access, PlaceProblem, patiently
from fakescan.places.patient import BlockFile
from fakescan.places.problems import problem_of
from fakescan.places.store import store_of
from fakescan.places.uri import is_uri, name_of, scheme_of, shown, spread
from fakescan.records import Summary
from fakescan.scan.pipeline import ScanSettings, scan
from fakescan.session import OnnxSession
from stores import encoded


@pytest.mark.parametrize("text", ["s3://b/a.png", "https://h/a.png", "hf://datasets/x", "foo://y"])
def test_a_scheme_makes_a_uri(text):
    assert is_uri(text)


@pytest.mark.parametrize("text", ["a.png", "C://x/a.png", "/s3://x", "s3:/b/a", "", "a/s3://b"])
def test_a_path_is_none(text):
    assert not is_uri(text)


def test_an_unknown_scheme_is_refused_with_the_known_ones():
    with pytest.raises(PlaceError, match=r"^ftp://h/x: no place that can be read; known: s3://"):
        scheme_of("ftp://me:word@h/x")


@pytest.mark.parametrize(
    ("uri", "safe"),
    [
        ("https://me:word@host/a.png", "https://host/a.png"),
        (
            "https://h/a.png?X-Amz-Credential=AKID&X-Amz-Signature=abc&w=3",
            "https://h/a.png?X-Amz-Credential=...&X-Amz-Signature=...&w=3",
        ),
        ("https://a.blob.core.windows.net/c/a.png?sv=1&sig=abc", None),
        ("s3://b/a@b.png", "s3://b/a@b.png"),
        ("https://h/a.png?token=1&page=2", "https://h/a.png?token=...&page=2"),
    ],
)
def test_what_is_shown_of_a_uri_has_no_secret(uri, safe):
    assert shown(uri) == (safe or "https://a.blob.core.windows.net/c/a.png?sv=1&sig=...")


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_password_is_ever_shown(user, word):
    secret = f"~{word}~".translate(dict.fromkeys(map(ord, "/@?#")))
    assert secret not in shown(f"https://{user.replace('/', '')}:{secret}@host/a.png")


def test_parameters_of_an_address_are_no_part_of_the_name():
    assert name_of("https://h/a.png?x=b.txt").endswith("a.png")
    assert name_of("s3://b/what?.png").endswith("?.png")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("s3://b/s-{08..10}.tar", ["s3://b/s-08.tar", "s3://b/s-09.tar", "s3://b/s-10.tar"]),
        ("{a,b}/{1..2}", ["a/1", "a/2", "b/1", "b/2"]),
        ("s3://b/{x}.png", ["s3://b/{x}.png"]),
        ("s3://b/a\\b.png", ["s3://b/a\\b.png"]),
    ],
)
def test_braces_stand_for_names_as_in_bash(text, names):
    assert spread(text) == names


def test_braces_that_stand_for_too_many_names_are_refused_at_once():
    with pytest.raises(PlaceError, match=r"^s3://b/\{1\.\.10{12}\}: more than 1000000 names$"):
        spread("s3://b/{1..1000000000000}")


def test_braces_without_their_library_are_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "bracex", None)
    with pytest.raises(PlaceError, match=r"braces need more: pip install 'fakescan\[remote\]'$"):
        spread("s3://b/{1..2}")


def test_a_problem_that_passes_is_asked_again_with_growing_waits():
    waits, answers = [], [TimeoutError(), ConnectionError(), "bytes"]

    def ask():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(ask, Access(attempts=3), waits.append) == "bytes"
    assert len(waits) == 2
    assert all(0 <= wait <= 1 for wait in waits)


def test_a_problem_that_stays_is_asked_once():
    asked = []

    def ask():
        asked.append(1)
        raise PermissionError("/very/secret")

    with pytest.raises(PlaceProblem, match=r"^no permission to read it$"):
        patiently(ask, Access(attempts=5))
    assert len(asked) == 1


def test_what_a_library_says_is_never_quoted():
    assert "word" not in problem_of(RuntimeError("https://me:word@host")).reason


def test_a_missing_library_is_one_line_that_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(PlaceError, match=r"^gs://: needs more: pip install 'gcsfs'$"):
        store_of("gs://b/a.png", Access())


def test_scanning_a_folder_loads_nothing_for_stores(tiny, photos):
    code = (
        "import sys\nfrom fakescan.cli import main\n"
        f"main(['scan', '-q', '--model', {str(tiny)!r}, {str(photos)!r}])\n"
        "print([m for m in ('fsspec', 's3fs', 'tenacity', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_any_store_that_fsspec_knows_is_listed_and_read(tiny):
    files = fsspec.filesystem("memory")
    for name, grey in (("a.png", 0), ("b/c.png", 255), ("b/d.txt", 255)):
        files.pipe(f"/photos/{name}", encoded(grey) if name[-1] == "g" else b"text")
    try:
        found = list(scan(["memory://photos"], OnnxSession(tiny), ScanSettings(), Summary()))
    finally:
        files.rm("/photos", recursive=True)
    assert [(f.path, f.verdict.value) for f in found] == [
        ("memory://photos/a.png", "real"),
        ("memory://photos/b/c.png", "fake"),
    ]


@pytest.mark.parametrize("name", ["readers", "attempts", "timeout_s"])
def test_settings_out_of_range_are_refused(name):
    with pytest.raises(ConfigError, match=f"{name}: must be positive"):
        Access(**{name: 0})


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-40, 40), st.integers(0, 30)), max_size=20)
)
def test_a_file_in_blocks_reads_as_the_whole_does(steps):
    data = bytes(range(40))
    file = BlockFile(lambda start, end: data[start:end], len(data), 7)
    whole = io.BytesIO(data)
    for whence, offset, size in steps:
        at = {0: 0, 1: whole.tell(), 2: len(data)}[whence] + offset
        if at < 0:
            with pytest.raises(OSError, match="before the start"):
                file.seek(offset, whence)
            continue
        assert file.seek(offset, whence) == whole.seek(at)
        reader = io.BufferedReader(file, 5)
        assert reader.read(size) == whole.read(size)
        reader.detach()
        file.seek(whole.tell())
