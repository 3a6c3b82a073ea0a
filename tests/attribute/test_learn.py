"""Tasks learnt one after another into a bundle."""

import hashlib
from dataclasses import replace

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from attributors import DESIGN, MACHINE, SETTINGS, Quiet, task
from fakescan.attribute.bundle import read_manifest
from fakescan.attribute.exemplars import read_index
from fakescan.attribute.forget import remove_task
from fakescan.attribute.learn import learn
from fakescan.attribute.namer import TorchNamer
from fakescan.attribute.predict import predict
from fakescan.attribute.store import init, open_bundle
from fakescan.errors import AttributorError, ConfigError, DatasetError
from fakescan.export.graph import build_graph
from towers import tiny_metadata, tiny_model, tiny_tower


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("adapters/*")}


def calls(folder, pictures, kind):
    opened = open_bundle(folder)
    found = predict([str(pictures / "test" / kind)], TorchNamer(opened), opened.attributor.rules, 1)
    return [named.attribution.generator for named in found]


def exemplars(folder):
    manifest = read_manifest(folder)
    stored = manifest.memory.index
    return read_index((folder / stored.path).read_bytes(), "index", len(manifest.classes))


def test_generators_learnt_one_after_another_are_told_apart(known, teach, pictures):
    teach(known, "third", "green", "dark")
    right = 0
    for kind in ("blue", "red", "green", "dark"):
        found = calls(known, pictures, kind)
        right += found.count(kind)
    assert right >= 24  # of 32; chance is 6
    assert calls(known, pictures, "real").count(None) >= 6  # of 8


def test_learning_leaves_old_adapters_as_they_are_to_the_byte(known, teach):
    before = hashes(known)
    teach(known, "third", "green")
    after = hashes(known)
    assert len(before) == 2
    assert len(after) == 3
    assert {name: after[name] for name in before} == before


def test_the_manifest_tells_what_was_learnt(known):
    manifest = read_manifest(known)
    assert [(c.task, c.kind, c.name, c.images) for c in manifest.classes] == [
        ("first", "real", "real", 16),
        ("first", "fake", "blue", 16),
        ("second", "fake", "red", 16),
    ]
    assert [t.name for t in manifest.tasks] == ["first", "second"]
    assert manifest.tasks[1].exemplars == 24
    assert manifest.state == 2
    assert [p.name for p in (known / "states").iterdir()] == ["0002"]


def test_memory_keeps_the_same_number_of_each_class_and_never_more(known, teach):
    before = exemplars(known)
    assert [sum(e.label == c for e in before) for c in range(3)] == [8, 8, 8]
    teach(known, "third", "green", "dark")
    after = exemplars(known)
    assert [sum(e.label == c for e in after) for c in range(5)] == [4, 4, 4, 4, 4]
    kept = {(e.label, e.sha256) for e in before}
    assert all((e.label, e.sha256) in kept for e in after if e.label < 3)
    seen = [
        [e.sha256 for e in part if e.label == 0 and not e.is_held_out] for part in (before, after)
    ]
    assert seen[1] == seen[0][: len(seen[1])]  # the first ones in herding order


def test_a_part_of_each_class_is_held_out(known):
    found = exemplars(known)
    assert [sum(e.is_held_out for e in found if e.label == c) for c in range(3)] == [2, 2, 2]


@pytest.mark.parametrize("mode", ["paths", "copies", "none"])
def test_every_way_to_remember_learns_a_second_task(empty, teach, pictures, mode):
    settings = replace(SETTINGS, memory_mode=mode)
    teach(empty, "first", "blue", real=True, settings=settings)
    teach(empty, "second", "red", settings=settings)
    manifest = read_manifest(empty)
    assert manifest.memory.tokens is None
    assert manifest.tasks[1].exemplars == (0 if mode == "none" else 24)
    copies = {p.stem for p in (empty / "copies").glob("*")}
    assert copies == ({e.sha256 for e in exemplars(empty)} if mode == "copies" else set())
    assert calls(empty, pictures, "red").count("red") >= 5


def test_without_memory_old_logits_stay_exactly(empty, teach, pictures):
    settings = replace(SETTINGS, memory_mode="none")
    teach(empty, "first", "blue", real=True, settings=settings)
    crops = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    before = TorchNamer(open_bundle(empty)).logits(crops)
    teach(empty, "second", "red", settings=settings)
    after = TorchNamer(open_bundle(empty)).logits(crops)
    assert np.abs(after[:, :2] - before).max() < 1e-5


def test_exemplars_that_changed_or_vanished_are_left_out(empty, teach, tmp_path, pictures):
    settings = replace(SETTINGS, memory_mode="paths")
    teach(empty, "first", "blue", real=True, settings=settings)
    lost = exemplars(empty)[0]
    (index,) = (empty / "states").glob("*/memory.jsonl")
    assert lost.sha256.encode() in index.read_bytes()
    listener = Quiet()
    original = (path := pictures / "train" / "real" / lost.path.rsplit("/", 1)[1]).read_bytes()
    try:
        path.write_bytes(original + b" ")
        teach(empty, "second", "red", settings=settings, listener=listener)
    finally:
        path.write_bytes(original)
    assert listener.notes == ["memory: 1 of 24 exemplars are gone or changed"]
    assert read_manifest(empty).tasks[1].exemplars == 23


def test_the_same_task_learnt_twice_gives_the_same_files(empty, teach, tmp_path, backbone):
    other = tmp_path / "other"
    init(other, backbone, DESIGN)
    for folder in (empty, other):
        teach(folder, "first", "blue", real=True)
    assert hashes(empty) == hashes(other)
    heads = [load_file(next(f.glob("states/*/head.safetensors"))) for f in (empty, other)]
    assert all(np.array_equal(heads[0][name], heads[1][name]) for name in heads[0])


@pytest.mark.parametrize(
    ("name", "generators", "real", "message"),
    [
        ("first", ["red"], False, "--task 'first': taken"),
        ("third", ["blue"], False, "--fake blue=...: known already, from task 'first'"),
        ("third", [], False, "--fake: name at least one folder"),
    ],
)
def test_names_that_are_taken_are_refused(known, teach, name, generators, real, message):
    with pytest.raises(ConfigError) as e:
        teach(known, name, *generators, real=real)
    assert str(e.value).startswith(message)


def test_the_first_task_needs_reals(empty, teach):
    with pytest.raises(ConfigError, match="the first task needs real images"):
        teach(empty, "first", "blue")


def test_the_way_to_remember_cannot_change(known, teach):
    with pytest.raises(ConfigError, match="keeps its exemplars as 'tokens', which cannot"):
        teach(known, "third", "green", settings=replace(SETTINGS, memory_mode="paths"))


def test_unreadable_images_are_left_out_and_too_few_are_refused(empty, machine, tmp_path, pictures):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    new = task(pictures, "first", "blue", real=True)
    some = replace(new, generators={"blue": [*new.generators["blue"][:6], broken]})
    listener = Quiet()
    manifest = learn(empty, some, SETTINGS, machine, listener)
    assert (
        listener.notes == [f"left out: {broken}: damaged or incomplete"] or len(listener.notes) == 1
    )
    assert manifest.classes[1].images == 6
    none = replace(new, name="second", generators={"red": [broken]}, reals=())
    with pytest.raises(DatasetError, match="second: 0 images of 'red' can be read"):
        learn(empty, none, SETTINGS, machine, Quiet())
    assert [t.name for t in read_manifest(empty).tasks] == ["first"]


def test_a_forgotten_task_is_gone_and_the_others_stay(known, teach, pictures):
    teach(known, "third", "green")
    before = hashes(known)
    manifest = remove_task(known, "second", MACHINE)
    assert [c.name for c in manifest.classes] == ["real", "blue", "green"]
    after = hashes(known)
    assert after == {n: h for n, h in before.items() if n != "task_001.safetensors"}
    assert {e.label for e in exemplars(known)} == {0, 1, 2}
    assert calls(known, pictures, "blue").count("blue") >= 5
    assert "red" not in calls(known, pictures, "red")
    assert (known / "states").exists()
    teach(known, "fourth", "red")
    assert sorted(hashes(known)) == [
        "task_000.safetensors",
        "task_002.safetensors",
        "task_003.safetensors",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody", "task 'nobody': not known; known: first, second"),
        ("first", "it has the only reals"),
    ],
)
def test_what_cannot_be_forgotten_is_refused(known, machine, name, message):
    with pytest.raises(ConfigError, match=message):
        remove_task(known, name, machine)


def test_a_bundle_of_another_backbone_is_refused(known, tmp_path):
    tower = tiny_tower(blocks=3, has_projection=False)
    tower.class_embedding.data *= 2
    model = tiny_model(tower=tower, blocks=())
    onnx.save(build_graph(model, tiny_metadata(model)), tmp_path / "other.onnx")
    with pytest.raises(AttributorError, match=r"learnt on tiny .* not on this backbone"):
        open_bundle(known, weights=tmp_path / "other.onnx")
