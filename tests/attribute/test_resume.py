"""Evaluations that are stopped go on from their last finished step, to the same figures."""

import json
import os
from types import SimpleNamespace

import pytest

from attributors import DESIGN, Quiet, write_picture
from fakescan.attribute.kept import Kept, Step, identity
from fakescan.attribute.methods import methods
from fakescan.attribute.scenario import read_folders
from fakescan.attribute.scene import arrange, gather
from fakescan.attribute.sequence import follow, run
from fakescan.attribute.settings import LearnSettings
from fakescan.attribute.store import init, open_bundle
from fakescan.cli import main
from fakescan.data.augment import Augmentation
from fakescan.train.views import ViewPool, ViewRecipe

SETTINGS = LearnSettings(epochs=1, memory=20, batch_size=8)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Three tasks of one generator."""
    root = tmp_path_factory.mktemp("tree")
    for number, (task, kinds) in enumerate(
        {"a": ("real", "blue"), "b": ("real", "red"), "c": ("green",)}.items()
    ):
        for kind in kinds:
            for i in range(8):
                write_picture(root / task / kind / f"{i}.png", kind, 1000 * number + i)
        (root / task / "real").mkdir(exist_ok=True)
    return root


@pytest.fixture(scope="module")
def attr(tmp_path_factory, backbone):
    folder = tmp_path_factory.mktemp("attr") / "empty"
    init(folder, backbone, DESIGN)
    return folder


@pytest.fixture(scope="module")
def material(tree, attr, machine):
    opened = open_bundle(attr)
    with ViewPool(ViewRecipe(opened.manifest.preprocess, Augmentation(), 0), 0) as pool:
        yield gather(read_folders(tree, 0.3, 0), opened, pool, machine.cache, Quiet())


class StoppedError(Exception):
    """As Ctrl-C would."""


def evaluate(material, keep=None, stop_at=None, settings=SETTINGS):
    """Rows without times, and what was trained; stopped at so many steps of fine-tuning."""
    trained = []

    def report(title, done, total):
        trained.append(title.partition(": ")[2])
        if trained.count("fine-tuning") == stop_at:
            raise StoppedError

    outcome = SimpleNamespace(tracks=())
    try:
        outcome = run(material, [[0, 1, 2]], settings, report, lambda track: None, keep)
    except StoppedError:
        assert stop_at is not None
    rows = [{k: str(v) for k, v in t.row().items() if k != "seconds"} for t in outcome.tracks]
    return rows, trained


@pytest.fixture(scope="module")
def whole(material):
    return evaluate(material)


def test_a_stopped_evaluation_goes_on_to_the_same_figures(material, whole, tmp_path):
    rows, trained = whole
    in_all = trained.count("fine-tuning")
    assert not evaluate(material, tmp_path, stop_at=in_all)[0]  # stopped in the last task
    again, second = evaluate(material, tmp_path)
    assert again == rows
    assert "LoRAX" not in second
    assert 0 < second.count("fine-tuning") < in_all
    assert not list(tmp_path.glob("*/*.safetensors"))  # nothing starts from them any more
    assert evaluate(material, tmp_path) == (rows, [])


def test_lorax_goes_on_from_its_extractors(material, whole, tmp_path):
    scene = arrange(material, [0, 1, 2], SETTINGS)
    lorax = methods(scene, SETTINGS, has_oracles=False)[0]
    kept = Kept(tmp_path, {}, "LoRAX")
    kept.add = cut_after(1, kept.add)
    with pytest.raises(StoppedError):
        follow(lorax, scene, lambda done, total: None, kept)
    fresh = methods(scene, SETTINGS, has_oracles=False)[0]
    (track,) = follow(fresh, scene, lambda done, total: None, Kept(tmp_path, {}, "LoRAX"))
    found = {k: str(v) for k, v in track.row().items() if k != "seconds"}
    assert found == whole[0][0]


def cut_after(number, add):
    """Keep the steps up to one, and stop there."""

    def cut(step, state, *, is_last):
        add(step, state, is_last=is_last)
        if step.number == number:
            raise StoppedError

    return cut


def test_other_settings_learn_anew(material, tmp_path):
    evaluate(material, tmp_path)
    assert evaluate(material, tmp_path, settings=LearnSettings(epochs=1, memory=15))[1]


@pytest.mark.parametrize("damage", [b"{", b'{"version": 1, "steps": [7]}', b"\xff", b"[]"])
def test_a_damaged_record_is_learnt_again(damage, material, whole, tmp_path):
    evaluate(material, tmp_path)
    (path,) = tmp_path.glob("*/lorax.json")
    path.write_bytes(damage)
    rows, trained = evaluate(material, tmp_path)
    assert rows == whole[0]
    assert set(trained) == {"LoRAX"}


def test_a_record_whose_state_is_gone_is_learnt_again(tmp_path):
    Kept(tmp_path, {}, "x").add(Step(0, 1.0, [[[0]]], [None]), {}, is_last=False)
    assert Kept(tmp_path, {}, "x").steps
    (path,) = tmp_path.glob("*/x.0.safetensors")
    path.write_bytes(b"short")
    assert not Kept(tmp_path, {}, "x").steps
    path.unlink()
    assert not Kept(tmp_path, {}, "x").steps


def test_files_are_known_by_place_size_and_time(tmp_path):
    paths = [tmp_path / "a", tmp_path / "gone", tmp_path / os.fsdecode(b"\xff")]
    paths[0].write_bytes(b"1")
    first = identity(paths)
    assert identity(paths) == first
    paths[0].write_bytes(b"12")
    second = identity(paths)
    os.utime(paths[0], ns=(1, 1))
    assert len({first, second, identity(paths), identity(paths[:2]), identity(paths[::-1])}) == 5


def test_no_method_calls_a_class_before_it_is_learnt(material):
    scene = arrange(material, [0, 1, 2], SETTINGS)
    for method in methods(scene, SETTINGS, has_oracles=False):
        kept = Kept(None, {}, method.names[0])
        follow(method, scene, lambda done, total: None, kept)
        assert [len(step.called) for step in kept.steps] == [len(method.names)] * 3
        for step in kept.steps:
            said = [c for tasks in step.called for task in tasks for c in task]
            assert max(said) < scene.seen(step.number)


def test_the_command_keeps_its_steps(attr, tree, tmp_path, capsys):
    words = ["attribute", "eval", str(attr), "--folders", str(tree), "--keep", str(tmp_path / "k")]
    words += ["--epochs", "1", "--memory", "20", "--batch-size", "8", "-j", "0", "-q"]
    assert main(words) == 0
    first = trained_rows(capsys)
    kept = {p.name: json.loads(p.read_text()) for p in (tmp_path / "k").glob("*/*.json")}
    assert [s["number"] for s in kept["lorax.json"]["steps"]] == [0, 1, 2]
    assert main(words) == 0
    assert trained_rows(capsys) == first  # times too: they are the first run's
    assert len(first) > 8


def trained_rows(capsys):
    """What was printed, but for the row that nothing learns for."""
    return [x for x in capsys.readouterr().out.splitlines() if not x.startswith("file properties")]
