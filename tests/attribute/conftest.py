"""A tiny backbone, and small pictures whose generators tint them or lay a pattern over them."""

from __future__ import annotations

import onnx
import pytest

from attributors import DESIGN, SETTINGS, TINTS, Quiet, task, write_picture
from fakescan.attribute.book import Machine
from fakescan.attribute.learn import learn
from fakescan.attribute.store import init
from fakescan.export.graph import build_graph
from fakescan.model.backbone import BackboneConfig
from fakescan.train.settings import CacheConfig
from towers import tiny_metadata, tiny_model, tiny_tower


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder for each kind, sixteen pictures each, and eight more for judging."""
    root = tmp_path_factory.mktemp("pictures")
    for number, kind in enumerate(TINTS):
        for i in range(24):
            folder = root / ("test" if i >= 16 else "train") / kind
            write_picture(folder / f"{i}.png", kind, 1000 * number + i)
    return root


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    """The tower inside a tiny detector of three blocks."""
    tower = tiny_tower(blocks=3, has_projection=False)
    model = tiny_model(tower=tower, blocks=())
    path = tmp_path_factory.mktemp("backbone") / "tiny.onnx"
    onnx.save(build_graph(model, tiny_metadata(model)), path)
    return BackboneConfig(weights=path)


@pytest.fixture(scope="session")
def machine(tmp_path_factory):
    """No worker processes, and one trunk cache for all tests."""
    return Machine(workers=0, cache=CacheConfig(folder=tmp_path_factory.mktemp("trunk")))


@pytest.fixture
def empty(tmp_path, backbone):
    """A bundle that knows nothing."""
    folder = tmp_path / "known"
    init(folder, backbone, DESIGN)
    return folder


@pytest.fixture
def teach(pictures, machine):
    """Learn one task into a bundle."""

    def teach(folder, name, *generators, real=False, settings=SETTINGS, listener=None):
        new = task(pictures, name, *generators, real=real)
        return learn(folder, new, settings, machine, listener or Quiet())

    return teach


@pytest.fixture
def known(empty, teach):
    """A bundle that knows two tasks."""
    teach(empty, "first", "blue", real=True)
    teach(empty, "second", "red")
    return empty
