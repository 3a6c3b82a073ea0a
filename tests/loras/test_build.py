"""An index is kept up to date with as little reading as possible, and survives damage."""

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from fakescan.errors import ConfigError, LoraIndexError
from fakescan.loras import build as build_module
from fakescan.loras import reading
from fakescan.loras.build import build
from fakescan.loras.collection import Collection
from fakescan.loras.index import NAME, SKETCHES, read_contents
from fakescan.loras.read import open_lora
from fakescan.loras.store import write_whole
from loras_made import factors, kohya, write


@pytest.fixture
def folder(tmp_path):
    for number in range(4):
        write(tmp_path / "files" / f"{number}.safetensors", kohya(factors(number)))
    return tmp_path / "files"


def test_a_second_run_reads_nothing(folder, tmp_path):
    assert build(folder, tmp_path / "idx").read == 4
    again = build(folder, tmp_path / "idx")
    assert (again.read, again.removed) == (0, 0)


def test_only_what_has_changed_is_read(folder, tmp_path):
    build(folder, tmp_path / "idx")
    write(folder / "1.safetensors", kohya(factors(9)))
    write(folder / "new.safetensors", kohya(factors(10)))
    (folder / "2.safetensors").unlink()
    shutil.copy(folder / "0.safetensors", folder / "copy.safetensors")
    outcome = build(folder, tmp_path / "idx")
    assert (outcome.read, outcome.removed) == (2, 1)
    assert len(outcome.contents.entries) == 5
    assert len(list((tmp_path / "idx" / SKETCHES).iterdir())) == 4


def test_a_moved_file_is_known_by_its_content(folder, tmp_path):
    build(folder, tmp_path / "idx")
    (folder / "0.safetensors").rename(folder / "moved.safetensors")
    assert build(folder, tmp_path / "idx").read == 0


def test_a_damaged_sketch_is_made_again(folder, tmp_path):
    build(folder, tmp_path / "idx")
    sketch = next((tmp_path / "idx" / SKETCHES).iterdir())
    sketch.write_bytes(sketch.read_bytes()[:-20])
    with pytest.raises(LoraIndexError, match="index again"):
        Collection(tmp_path / "idx").members()
    assert build(folder, tmp_path / "idx").read == 1
    assert len(Collection(tmp_path / "idx").members()) == 4


def test_an_interrupted_run_loses_nothing_that_was_read(folder, tmp_path):
    def stop(done, _all):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(folder, tmp_path / "idx", progress=stop)
    assert not (tmp_path / "idx" / NAME).exists()
    assert build(folder, tmp_path / "idx").read <= 2


def test_nothing_else_than_the_index_is_written(folder, tmp_path):
    before = {p: p.read_bytes() for p in folder.iterdir()}
    build(folder, tmp_path / "idx")
    assert {p: p.read_bytes() for p in folder.iterdir()} == before
    left = {p.relative_to(tmp_path / "idx").parts[0] for p in (tmp_path / "idx").rglob("*")}
    assert left == {NAME, SKETCHES, "means"}


@pytest.mark.skipif(os.name == "nt", reason="needs links")
def test_links_are_followed_inside_the_folder_only(folder, tmp_path):
    outside = write(tmp_path / "outside.safetensors", kohya(factors(50)))
    (folder / "link.safetensors").symlink_to(outside)
    (folder / "inside.safetensors").symlink_to(folder / "0.safetensors")
    (folder / "loop").symlink_to(folder)
    outcome = build(folder, tmp_path / "idx")
    assert [(s.path, s.reason) for s in outcome.contents.skipped] == [
        ("link.safetensors", "link out of the folder")
    ]
    assert len(outcome.contents.entries) == 5


def test_an_index_inside_its_folder_is_not_indexed(folder):
    build(folder, folder / "idx")
    assert len(build(folder, folder / "idx").contents.entries) == 4


def test_an_index_is_of_one_folder_and_one_size(folder, tmp_path):
    build(folder, tmp_path / "idx")
    (tmp_path / "other").mkdir()
    for wrong, words in (
        (lambda: build(tmp_path / "other", tmp_path / "idx"), "an index of"),
        (lambda: build(folder, tmp_path / "idx", size=16), "sketches of size 32, not 16"),
        (lambda: build(folder, tmp_path / "new", size=7), "one of 16, 32, 64"),
        (lambda: build(folder, folder), "itself"),
        (lambda: build(tmp_path / "none", tmp_path / "new"), "no such folder"),
        (lambda: build(tmp_path / "idx", folder), "other things in it"),
    ):
        with pytest.raises(ConfigError, match=words):
            wrong()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "damaged"),
        ("[]", "damaged"),
        ('{"fakescan_lora_index": 99}', "another version"),
        ('{"fakescan_lora_index": 1}', "damaged"),
    ],
)
def test_a_damaged_index_says_so(text, words, tmp_path):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(LoraIndexError, match=words):
        read_contents(tmp_path)


def test_a_hash_that_is_a_path_is_refused(folder, tmp_path):
    build(folder, tmp_path / "idx")
    values = json.loads((tmp_path / "idx" / NAME).read_text())
    values["files"][0]["sha256"] = "../../secret"
    (tmp_path / "idx" / NAME).write_text(json.dumps(values))
    with pytest.raises(LoraIndexError, match="a sha256 that is none"):
        Collection(tmp_path / "idx")


def test_sketches_are_mapped_and_half_precision(folder, tmp_path):
    build(folder, tmp_path / "idx")
    sketch = Collection(tmp_path / "idx").members()[0].sketch
    assert isinstance(sketch.values, np.memmap)
    assert sketch.values.dtype == np.float16
    assert sketch.values.shape == (3, 32 * 32 + 32 * 33 // 2)


@pytest.fixture
def processes_pay(monkeypatch):
    monkeypatch.setattr(build_module, "WORTH_PROCESSES", 0)


def test_processes_give_what_one_gives(folder, tmp_path, processes_pay):
    (folder / "2.safetensors").write_bytes(b"no header")
    (folder / "old.ckpt").write_bytes(b"")
    one, two = build(folder, tmp_path / "one"), build(folder, tmp_path / "two", workers=2)
    assert two == replace(one, contents=two.contents)
    assert two.contents.entries == one.contents.entries
    assert two.contents.skipped == one.contents.skipped
    sketches = [p.name for p in (tmp_path / "one" / SKETCHES).iterdir()]
    assert len(sketches) == 3
    for name in sketches:
        same = [(tmp_path / index / SKETCHES / name).read_bytes() for index in ("one", "two")]
        assert same[0] == same[1]


def test_a_process_that_dies_is_one_clear_error(folder, tmp_path, processes_pay, monkeypatch):
    build(folder, tmp_path / "idx")
    write(folder / "new.safetensors", kohya(factors(9)))
    write(folder / "newer.safetensors", kohya(factors(10)))
    monkeypatch.setattr(reading, "_read", die)
    with pytest.raises(LoraIndexError, match="a process that read files died"):
        build(folder, tmp_path / "idx", workers=2)
    assert len(Collection(tmp_path / "idx").members()) == 4


def die(_candidate):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def interrupts():
    """Ctrl-C as Python takes it, also where a shell has made background jobs deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_waits_until_a_process_is_started():
    is_started = False
    with pytest.raises(KeyboardInterrupt), reading._uninterrupted():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        is_started = True
    assert is_started


@pytest.mark.skipif(os.name == "nt", reason="needs signal masks")
def test_a_process_that_is_started_is_deaf_to_an_interrupt():
    code = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('done')"
    with reading._uninterrupted():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"done", b"")


def test_a_single_file_needs_no_other_process(folder, tmp_path, processes_pay, monkeypatch):
    build(folder, tmp_path / "idx")
    write(folder / "new.safetensors", kohya(factors(9)))
    monkeypatch.setattr(reading, "_in_processes", None)
    assert build(folder, tmp_path / "idx", workers=2).read == 1


@pytest.mark.skipif(os.name == "nt", reason="needs names that are no text")
def test_a_name_that_is_no_utf_8_is_kept(folder, tmp_path):
    (folder / "0.safetensors").rename(folder / os.fsdecode(b"odd\xff.safetensors"))
    build(folder, tmp_path / "idx")
    assert build(folder, tmp_path / "idx").read == 0
    with open_lora(Collection(tmp_path / "idx").place(read_contents(tmp_path / "idx").entries[-1])):
        pass


def test_many_threads_may_write_one_file_at_once(tmp_path):
    """As for files of the same content, whose sketch has one name."""
    path, size = tmp_path / "sketch", 200_000
    with ThreadPoolExecutor(8) as pool:
        for number in range(40):
            pieces = (bytes([number]) * size,)
            done = [pool.submit(write_whole, path, pieces) for _ in range(8)]
            assert [future.result() for future in done] == [None] * 8
            assert path.read_bytes() == pieces[0]
    assert [p.name for p in tmp_path.iterdir()] == ["sketch"]
