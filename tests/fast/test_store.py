"""Fast forms are made once, kept whole, and made again where they are not."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fakescan.session
from fakescan.fast import store
from fakescan.session import OnnxSession

CODE = (
    "import sys; from pathlib import Path; from fakescan.session import OnnxSession\n"
    "OnnxSession(Path(sys.argv[1]), device='cpu', arithmetic='fast')\n"
    "print(*[m for m in ('torch', 'onnx', 'google.protobuf') if m in sys.modules])"
)


def crops():
    return np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)


def fast(path):
    return OnnxSession(path, device="cpu", arithmetic="fast")


def kept():
    return list(store.folder().iterdir())


def test_the_second_session_finds_what_the_first_one_made(write, monkeypatch):
    path = write()
    first = fast(path)
    (file,) = kept()
    monkeypatch.delattr(fakescan.session, "new_form")
    second = fast(path)
    np.testing.assert_array_equal(second.logits(crops()), first.logits(crops()))
    assert second.fingerprint == first.fingerprint
    assert second.metadata == first.metadata
    assert first.sha256 in file.name


def test_making_the_same_form_again_gives_the_same_bytes(write):
    path = write()
    fast(path)
    (file,) = kept()
    before = file.read_bytes()
    file.unlink()
    fast(path)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
    ],
)
def test_a_damaged_form_is_made_anew(write, damage):
    path = write()
    expected = fast(path).logits(crops())
    (file,) = kept()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    np.testing.assert_array_equal(fast(path).logits(crops()), expected)
    assert file.read_bytes() == whole


def test_a_form_of_an_older_kind_gives_way(write, monkeypatch):
    path = write()
    monkeypatch.setattr(store, "VERSION", 0)
    fast(path)
    (old,) = kept()
    monkeypatch.undo()
    folder = old.parent
    monkeypatch.setattr(store, "folder", lambda: folder)
    fast(path)
    (new,) = kept()
    assert new.name != old.name


def test_a_folder_that_cannot_be_used_costs_a_warning_only(write, monkeypatch, tmp_path):
    path = write()
    expected = fast(path).logits(crops())
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FAKESCAN_CACHE_DIR", str(tmp_path / "file"))
    session = fast(path)
    np.testing.assert_array_equal(session.logits(crops()), expected)
    (warning,) = session.warnings
    assert "the fast form cannot be kept (Not a directory)" in warning
    assert "\n" not in warning


def test_several_at_once_do_not_disturb_each_other_and_need_no_torch(write, cache_folder):
    path = write()
    started = [
        subprocess.Popen([sys.executable, "-c", CODE, path], stdout=subprocess.PIPE, env=os.environ)
        for _ in range(3)
    ]
    for process in started:
        out, _ = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, b"\n")
    (file,) = kept()
    assert store.kept_form(fast(path).sha256, file.name.split("-")[2].removesuffix(".fast"))


def test_clearing_removes_forms_and_what_was_left_of_writing(write):
    fast(write())
    (file,) = kept()
    size = file.stat().st_size
    assert store.kept_bytes() == size
    file.with_name(file.name + "abc").write_bytes(b"half")
    assert store.clear() == size + 4
    assert kept() == []
