"""A file that lies about itself is refused, with one line that says why; nothing is unpickled."""

import json
import os
import pickle
import zipfile

import pytest

from fakescan.errors import LoraError
from fakescan.loras.describe import describe
from fakescan.loras.header import MAX_HEADER_BYTES, parse_header
from fakescan.loras.read import open_lora
from loras_made import factors, kohya, write, write_raw


def slot(dtype="F32", shape=(2, 2), offsets=(0, 16)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def text(**tensors):
    return json.dumps(tensors).encode()


HOSTILE = {
    "a negative size": (text(a=slot(shape=(-2, -2))), 16, "no usable shape"),
    "a size of zero": (text(a=slot(shape=(0, 2), offsets=(0, 0))), 0, "no usable shape"),
    "a size that is no integer": (text(a=slot(shape=(2.0, 2))), 16, "no usable shape"),
    "a size that is a truth value": (text(a=slot(shape=(True, 4))), 16, "no usable shape"),
    "six dimensions": (text(a=slot(shape=[1] * 6, offsets=(0, 4))), 4, "no usable shape"),
    "a billion elements": (text(a=slot(shape=(10**9,))), 16, "takes 4000000000 bytes"),
    "a size that overflows": (text(a=slot(shape=(2**33, 2**33))), 16, "by its shape"),
    "an unknown type": (text(a=slot(dtype="F4")), 16, "unknown type 'F4'"),
    "a type that is a list": (text(a=slot(dtype=["F32"])), 16, "unknown type"),
    "overlapping tensors": (text(a=slot(), b=slot(offsets=(8, 24))), 24, "'b' overlaps"),
    "the same bytes twice": (text(a=slot(), b=slot()), 16, "'b' overlaps"),
    "a gap": (text(a=slot(), b=slot(offsets=(20, 36))), 36, "'b' leaves a gap"),
    "bytes behind the last tensor": (text(a=slot()), 17, "cut short or too long"),
    "fewer bytes than stated": (text(a=slot()), 15, "cut short or too long"),
    "offsets backwards": (text(a=slot(offsets=(16, 0))), 16, "by its offsets"),
    "negative offsets": (text(a=slot(offsets=(-16, 0))), 16, "data_offsets"),
    "a duplicate tensor": (b'{"a":1,"a":2}', 0, "'a' twice"),
    "a duplicate key inside": (b'{"a":{"dtype":"F32","dtype":"F32"}}', 0, "'dtype' twice"),
    "deep nesting": (b'{"a":' + b"[" * 9 + b"]" * 9 + b"}", 0, "nested deeper"),
    "nesting that never ends": (b'{"a":' + b"[" * 100_000, 0, "its header"),
    "many objects": (b'{"a":[' + b"{}," * 300_000 + b"{}]}", 0, "too many values"),
    "many numbers": (b'{"a":[' + b"0," * 900_000 + b"0]}", 0, "too many values"),
    "text that never ends": (b'{"' + b'\\"' * 500_000, 0, "not JSON"),
    "no JSON": (b"{nonsense}", 0, "not JSON"),
    "no number": (b'{"a":NaN}    ', 0, "not JSON"),
    "a number of many digits": (b'{"a":' + b"9" * 10_000 + b"}", 0, "not JSON"),
    "no object": (b"[1, 2, 3, 4]", 0, "does not begin with '{'"),
    "no UTF-8": (b'{"\xff\xfe":{}}', 0, "not UTF-8"),
    "metadata that are no texts": (b'{"__metadata__":{"a":1}}', 0, "texts to texts"),
    "metadata that are a list": (b'{"__metadata__":[]}', 0, "texts to texts"),
    "an escape sequence in a name": (text(**{"\x1b[2J": slot()}), 16, "not printable"),
    "a very long name": (text(**{"a" * 513: slot()}), 16, "longer than 512"),
    "an extra key": (text(a=slot() | {"x": 1}), 16, "nothing else"),
    "a tensor that is a number": (b'{"a":12345}', 0, "must have dtype"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_header_is_refused_that_has(name, tmp_path):
    header, size, reason = HOSTILE[name]
    path = write_raw(tmp_path / "odd.safetensors", header, b"\0" * size)
    with pytest.raises(LoraError) as e:
        describe(path)
    assert str(e.value).startswith(f"{path}: ")
    assert reason in str(e.value)
    assert "\n" not in str(e.value)
    assert "\x1b" not in str(e.value)


@pytest.mark.parametrize("length", [0, 7, 2**63, 2**64 - 1, 10_000])
def test_a_header_of_an_impossible_length_is_refused(length, tmp_path):
    path = write_raw(tmp_path / "a.safetensors", text(a=slot()), b"\0" * 16, length=length)
    with pytest.raises(LoraError, match="no safetensors file, or cut short"):
        describe(path)


def test_a_header_above_the_limit_is_not_read(tmp_path):
    path = tmp_path / "a.safetensors"
    with path.open("wb") as stream:
        stream.write((MAX_HEADER_BYTES + 1).to_bytes(8, "little"))
        stream.truncate(MAX_HEADER_BYTES + 100)
    with pytest.raises(LoraError, match="at most 16000000 are read"):
        describe(path)


def test_large_metadata_are_refused_without_parsing_the_rest():
    raw = json.dumps({"__metadata__": {"a": "x" * 8_000_001}}).encode()
    with pytest.raises(LoraError, match="more than 8000000 letters"):
        parse_header(raw, len(raw) + 8)


def test_brackets_in_metadata_are_text():
    raw = json.dumps({"__metadata__": {"tags": "[" * 300_000 + '{"\\'}, "a": slot()}).encode()
    assert list(parse_header(raw, len(raw) + 24).tensors) == ["a"]


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 9, 100, -1])
def test_a_file_cut_anywhere_is_refused(cut, tmp_path):
    path = write(tmp_path / "a.safetensors", kohya(factors(0)))
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    with pytest.raises(LoraError, match=r"fewer than 8|cut short"):
        describe(path)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return (os.mkdir, (self.folder,))


@pytest.mark.parametrize(
    "name", ["a.pt", "a.bin", "a.ckpt", "a.pth", "a.safetensors", "zip.safetensors"]
)
def test_a_pickle_is_refused_under_any_name_and_never_opened(name, tmp_path):
    path = tmp_path / name
    if name.startswith("zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Bomb(tmp_path / "ran")))
    else:
        path.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")) + b"\0" * 64)
    with pytest.raises(LoraError, match="pickle"):
        describe(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs pipes")
def test_what_is_no_regular_file_is_refused(tmp_path):
    pipe = tmp_path / "a.safetensors"
    os.mkfifo(pipe)
    for path, reason in (
        (pipe, "not a regular file"),
        (tmp_path / "none.safetensors", "cannot be opened"),
        (tmp_path, "not a regular file"),
    ):
        with pytest.raises(LoraError, match=reason):
            describe(path)


def test_a_file_above_the_limit_is_refused(tmp_path):
    path = write(tmp_path / "a.safetensors", kohya(factors(0)))
    with pytest.raises(LoraError, match="at most 100 are read"), open_lora(path, max_bytes=100):
        pass


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be cut there")
def test_a_file_that_is_cut_while_it_is_read_is_an_error_not_a_crash(tmp_path):
    path = write(tmp_path / "a.safetensors", kohya(factors(0)))
    with open_lora(path) as file:
        os.truncate(path, path.stat().st_size - 8)
        last = max(file.header.tensors, key=lambda name: file.header.tensors[name].end)
        with pytest.raises(LoraError, match="cut while it was read"):
            file.read(last)
