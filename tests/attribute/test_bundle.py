"""Damaged and hostile bundles give one clear line; a stopped change leaves the old state."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from attributors import DESIGN, SETTINGS, Quiet, task
from fakescan.attribute import bundle
from fakescan.attribute.bundle import Stored, read_manifest, write_file, write_manifest
from fakescan.attribute.exemplars import Exemplar, locate, read_index
from fakescan.attribute.learn import learn
from fakescan.attribute.namer import TorchNamer
from fakescan.attribute.predict import predict
from fakescan.attribute.store import init, open_bundle
from fakescan.errors import AttributorError, ConfigError


@pytest.fixture(scope="session")
def pristine(tmp_path_factory, backbone, pictures, machine):
    """A bundle that knows two tasks; tests copy it."""
    folder = tmp_path_factory.mktemp("pristine") / "known"
    init(folder, backbone, DESIGN)
    learn(folder, task(pictures, "first", "blue", real=True), SETTINGS, machine, Quiet())
    learn(folder, task(pictures, "second", "red"), SETTINGS, machine, Quiet())
    return folder


@pytest.fixture
def copied(pristine, tmp_path):
    return Path(shutil.copytree(pristine, tmp_path / "copy"))


def edit(folder, change):
    values = json.loads((folder / "manifest.json").read_text())
    change(values)
    (folder / "manifest.json").write_text(json.dumps(values))


ADAPTER = "adapters/task_000.safetensors"


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def outside(values):
    values["tasks"][0]["adapter"]["path"] = "../../outside.safetensors"


def absolute(values):
    values["head"]["path"] = "/etc/passwd"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: flip(f / ADAPTER), "task_000.safetensors: damaged or replaced"),
        (lambda f: (f / ADAPTER).write_bytes((f / ADAPTER).read_bytes()[:-9]), "damaged or repl"),
        (lambda f: (f / ADAPTER).unlink(), "task_000.safetensors: cannot be read (No such file"),
        (lambda f: flip(next(f.glob("states/*/head.safetensors"))), "head.safetensors: damaged"),
        (lambda f: flip(next(f.glob("states/*/tokens.safetensors"))), "tokens.safetensors: dam"),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest.json: damaged"),
        (lambda f: (f / "manifest.json").write_text("[" * 100_000), "manifest.json: damaged"),
        (lambda f: (f / "manifest.json").unlink(), "no attributor; `fakescan attribute init`"),
        (lambda f: edit(f, outside), "names '../../outside.safetensors', which no file of it"),
        (lambda f: edit(f, absolute), "names '/etc/passwd'"),
        (lambda f: edit(f, lambda v: v.update(format_version=99)), "format 99; this fakescan"),
        (lambda f: edit(f, lambda v: v.update(surprise=1)), "unknown setting 'surprise'"),
        (lambda f: edit(f, lambda v: v.pop("head")), "tasks without a classifier"),
        (lambda f: edit(f, lambda v: v["classes"].pop()), "classes and its tasks do not belong"),
        (lambda f: edit(f, lambda v: v["rules"].update(temperature=0.0)), "temperature is 0.0"),
        (lambda f: edit(f, lambda v: v["design"].update(rank=8)), "not those of this attributor"),
        (lambda f: edit(f, lambda v: v["design"].update(levels=[9])), "made for another backbone"),
    ],
)
def test_a_damaged_bundle_is_one_clear_line(copied, damage, message):
    damage(copied)
    with pytest.raises(AttributorError) as e:
        open_bundle(copied, with_memory=True)
    assert message in str(e.value)
    assert "\n" not in str(e.value)


def forged(folder, name, data):
    """A file with the right sha256 and something else inside."""
    stored = write_file(folder, name, data)
    manifest = read_manifest(folder)
    if "task" in name:
        first = replace(manifest.tasks[0], adapter=stored)
        manifest = replace(manifest, tasks=(first, *manifest.tasks[1:]))
    else:
        manifest = replace(manifest, head=stored)
    write_manifest(folder, manifest)


HEAD = "states/0002/head.safetensors"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (ADAPTER, b"\x80\x04]\x94.", "not a safetensors file"),  # a pickle
        (ADAPTER, b"", "not a safetensors file"),
        (ADAPTER, b"\xff" * 64, "not a safetensors file"),
        (ADAPTER, safetensors.torch.save({"x": torch.zeros(1)}), "not those of this attributor"),
        (HEAD, safetensors.torch.save({"weight": torch.zeros(1, 1)}), "a classifier of"),
    ],
)
def test_forged_files_with_the_right_hash_are_refused(copied, name, data, message):
    forged(copied, name, data)
    with pytest.raises(AttributorError, match=message):
        open_bundle(copied)


def test_memory_that_points_out_of_the_bundle_is_refused(copied):
    for path in ("../secret.png", "/etc/passwd", "copies/../../x", "copies/" + "a" * 64 + ".a/b"):
        exemplar = Exemplar(label=0, path=path, sha256="", is_held_out=False)
        with pytest.raises(AttributorError, match="which is no copy"):
            locate(exemplar, copied, is_copied=True)


@pytest.mark.parametrize(
    "line", ["nonsense", "{}", '{"label": 7, "path": "", "sha256": "", "is_held_out": true}']
)
def test_a_memory_with_a_bad_line_is_refused(line):
    with pytest.raises(AttributorError, match=r"memory\.jsonl, line 1"):
        read_index(line.encode(), "memory.jsonl", 3)


def test_a_folder_that_holds_something_gets_no_bundle(tmp_path, backbone):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        init(tmp_path, backbone, DESIGN)


def test_two_processes_do_not_change_one_bundle(copied):
    second = bundle.changing(copied)
    with bundle.changing(copied), pytest.raises(ConfigError, match="another process"), second:
        pass


def said(folder, pictures):
    """All that a bundle says of some pictures."""
    opened = open_bundle(folder)
    return list(predict([str(pictures / "test")], TorchNamer(opened), opened.attributor.rules, 1))


@pytest.mark.parametrize("fails_at", range(5))
def test_a_failure_at_any_write_leaves_the_old_state(
    copied, teach, pictures, monkeypatch, fails_at
):
    before, manifest = said(copied, pictures), read_manifest(copied)
    real, writes = Path.replace, []

    def replace_until(self, target):
        if self.name.startswith(".") and copied in self.parents:
            writes.append(target)
            if len(writes) > fails_at:
                raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace_until)
    with pytest.raises(OSError, match="No space left"):
        teach(copied, "third", "green")
    monkeypatch.undo()
    assert len(writes) == fails_at + 1
    assert read_manifest(copied) == manifest
    assert said(copied, pictures) == before
    teach(copied, "third", "green")  # and it can be learnt afterwards
    assert [t.name for t in read_manifest(copied).tasks] == ["first", "second", "third"]
    assert sorted(p.name for p in (copied / "adapters").iterdir()) == [
        f"task_00{i}.safetensors" for i in range(3)
    ]


LEARN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from attributors import SETTINGS, Quiet, task
from dataclasses import replace
from fakescan.attribute.book import Machine
from fakescan.attribute.learn import learn
from fakescan.train.settings import CacheConfig
print("ready", flush=True)
machine = Machine(workers=0, cache=CacheConfig(folder=Path(sys.argv[3])))
settings = replace(SETTINGS, epochs=4)
learn(Path(sys.argv[1]), task(Path(sys.argv[2]), "third", "green"), settings, machine, Quiet())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("delay_s", [0.02, 0.15, 0.4, 0.8, "adapter", "state"])
def test_a_killed_process_leaves_a_working_state(copied, pictures, tmp_path, delay_s):
    before, manifest = said(copied, pictures), read_manifest(copied)
    command = [sys.executable, "-c", LEARN, copied, pictures, tmp_path / "trunk"]
    process = subprocess.Popen(
        [*map(str, command), str(Path(__file__).parents[1])], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if isinstance(delay_s, float):
            time.sleep(delay_s)
        else:
            pattern = {"adapter": "adapters/task_002*", "state": "states/0003/*"}[delay_s]
            while process.poll() is None and not list(copied.glob(pattern)):
                pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    now = read_manifest(copied)
    assert now == manifest or [t.name for t in now.tasks] == ["first", "second", "third"]
    if now == manifest:
        assert said(copied, pictures) == before
        again = subprocess.run(
            [*map(str, command), str(Path(__file__).parents[1])], capture_output=True, check=True
        )
        assert again.returncode == 0
    assert len(read_manifest(copied).tasks) == 3
    assert len(said(copied, pictures)) == len(before)


def test_every_file_has_its_hash_in_the_manifest(pristine):
    named = {stored.path for stored in read_manifest(pristine).files()}
    there = {p.relative_to(pristine).as_posix() for p in pristine.rglob("*") if p.is_file()}
    assert there == named | {"manifest.json", "lock"}


def test_the_digest_tells_states_apart(pristine):
    manifest = read_manifest(pristine)
    head = Stored(path=HEAD, sha256="0" * 64, bytes=1)
    assert manifest.digest() == read_manifest(pristine).digest()
    assert replace(manifest, head=head).digest() != manifest.digest()
