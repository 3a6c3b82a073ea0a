"""Training on tar shards: the run of the folder they were made from, on any number of processes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fakescan.config import dump
from fakescan.data.samples import read_samples
from fakescan.errors import ConfigError, DatasetError, FakescanError
from fakescan.train import cached
from fakescan.train.collect import read_roots
from fakescan.train.journal import read_journal
from fakescan.train.parallel import Processes
from fakescan.train.run import train
from fakescan.train.shards import ShardIndexer
from fakescan.train.start import start
from fakescan.train.store import FLUSH_ROWS
from fakescan.train.trunk import TrunkMaker
from fakescan.train.trunks import PlainTrunks
from fakescan.train.views import ViewPool, ViewRecipe
from shards_made import write_shard, write_shards


@pytest.fixture(scope="module")
def shards(data, pairs, tmp_path_factory):
    """The images of both folders in shards, as patterns."""
    roots = tmp_path_factory.mktemp("shards")
    return tuple(
        str(write_shards(roots / root.name, read_samples(root), count))
        for root, count in ((data, 3), (pairs, 2))
    )


def test_shards_give_the_run_of_their_folder_with_a_cache_and_without(
    config, data, pairs, shards, tmp_path
):
    train(replace(config, data=(str(data), str(pairs))), tmp_path / "folder")
    train(replace(config, data=shards), tmp_path / "shards")
    plain = replace(config.cache, enabled=False)
    train(replace(config, data=shards, cache=plain), tmp_path / "plain")
    kept = (tmp_path / "folder" / "checkpoint.safetensors").read_bytes()
    assert (tmp_path / "shards" / "checkpoint.safetensors").read_bytes() == kept
    assert (tmp_path / "plain" / "checkpoint.safetensors").read_bytes() == kept
    assert len(read_journal(tmp_path / "shards" / "metrics.jsonl")) > 5


def torchrun(config, out, *options):
    settings = out.with_suffix(".toml")
    settings.write_text(dump(config))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += ["2", "-m", "fakescan", "train", "--out", str(out), "-q", "--device", "cpu"]
    command += options or ("--config", str(settings))
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def names_in(part):
    path = part / "rows.txt"
    return path.read_text().split() if path.exists() else []


@pytest.mark.slow
def test_two_processes_fill_a_part_each_and_give_the_curve_of_one(config, shards, tmp_path):
    config = replace(config, data=shards, epochs=3)
    train(
        replace(config, cache=replace(config.cache, folder=tmp_path / "one-cache")),
        tmp_path / "one",
    )
    process = torchrun(config, tmp_path / "two")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    (store,) = (config.cache.folder).glob("*/layout.json")
    mine, others = names_in(store.parent), names_in(store.parent / "part-0001")
    assert not set(mine) & set(others)
    assert abs(len(mine) - len(others)) <= 1
    (alone,) = (tmp_path / "one-cache").glob("*/layout.json")
    assert sorted([*mine, *others]) == sorted(names_in(alone.parent))
    one, two = (read_journal(tmp_path / run / "metrics.jsonl") for run in ("one", "two"))
    assert len(one) == len(two) > 10
    for a, b in zip(one, two, strict=True):
        if a["kind"] == "step":
            assert a["bce"] == pytest.approx(b["bce"], abs=1e-5)
        else:
            assert a["validation"] == pytest.approx(b["validation"], abs=1e-4)


def process_of_rank(parent, rank):
    """The process that torchrun has started for a rank."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            own = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            environment = (folder / "environ").read_bytes().split(b"\0")
            if int(own) == parent and b"RANK=%d" % rank in environment:
                return int(folder.name)
    return None


@pytest.fixture(scope="module")
def long(shared_config, shards, tmp_path_factory):
    """A run whose cache takes a while, and what came of it in one process."""
    folder = tmp_path_factory.mktemp("long")
    config = replace(shared_config, data=shards[:1], draws=20, epochs=1)
    config = replace(config, cache=replace(config.cache, folder=folder / "cache"))
    train(config, folder / "one")
    (store,) = (path.parent for path in (folder / "cache").glob("*/layout.json"))
    return config, folder / "one", sorted(names_in(store))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_killed_costs_what_it_had_not_stored_and_the_rerun_goes_on(
    long, tmp_path, victim
):
    config, alone, every = long
    config = replace(config, cache=replace(config.cache, folder=tmp_path / "cache"))
    process = torchrun(config, tmp_path / "two")
    part = "part-0001" if victim else "."
    give_up = time.monotonic() + 200
    try:
        while not [
            f for f in config.cache.folder.glob(f"*/{part}") if len(names_in(f)) > FLUSH_ROWS
        ]:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < give_up
            time.sleep(0.02)
        os.kill(process_of_rank(process.pid, victim), signal.SIGKILL)
        process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode != 0
    (store,) = (path.parent for path in config.cache.folder.glob("*/layout.json"))
    kept = {str(p): names_in(p) for p in (store, store / "part-0001")}
    assert len(kept[str(store / part)]) > FLUSH_ROWS
    assert sum(map(len, kept.values())) < len(every)
    again = torchrun(config, tmp_path / "two", "--resume")
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    for place, names in kept.items():
        assert names_in(Path(place))[: len(names)] == names
    found = [name for p in (store, *store.glob("part-*")) for name in names_in(p)]
    assert sorted(found) == every
    one, two = (read_journal(run / "metrics.jsonl") for run in (alone, tmp_path / "two"))
    assert one[-1]["validation"] == pytest.approx(two[-1]["validation"], abs=1e-4)


def test_shards_of_one_folder_are_one_root_however_they_are_named(shards):
    pattern = Path(shards[0])
    named = [str(path) for path in sorted(pattern.parent.glob("*.tar"))]
    whole = read_roots([str(pattern)], (), ShardIndexer())
    assert read_roots(named, (), ShardIndexer()) == whole
    assert len(whole) == 40


def test_processes_index_a_share_each_and_the_index_is_kept(shards, tmp_path):
    whole = read_roots(shards, (), ShardIndexer())
    found = together(
        2, lambda p: read_roots(shards, (), ShardIndexer(processes=p, folder=tmp_path))
    )
    assert found == [whole, whole]
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 5
    kept[0].write_text("[{")  # damaged: made again
    images = json.loads(kept[1].read_text())
    images[0]["values"]["source"] = "kept"
    kept[1].write_text(json.dumps(images))
    again = read_roots(shards, (), ShardIndexer(folder=tmp_path))
    assert [s for s in again if s.source == "kept"] != []
    assert len(again) == len(whole)


def test_rows_of_another_machine_that_cannot_be_seen_are_told_in_one_line(
    config, shards, tmp_path, monkeypatch
):
    monkeypatch.setattr(cached, "PATIENCE_S", 0.2)
    monkeypatch.setattr(cached, "PAUSE_S", 0.05)
    begun = start(config, torch.device("cpu"))
    samples = read_roots(shards[:1], (), ShardIndexer())
    recipe = ViewRecipe(begun.preprocess, config.augmentation, 0)

    def prepare(processes, folder):
        maker = TrunkMaker(begun.model, begun.preprocess, split=True)
        plain = PlainTrunks(maker, ViewPool(recipe, 0), samples, processes)
        trunks = cached.CachedTrunks(plain, folder, 1.0, "origin")
        draws = [(i, 0) for i in range(len(samples))]
        return trunks.prepare(draws, lambda _done, _total: None), trunks.features(draws)

    one, two = together(2, lambda p: prepare(p, tmp_path / "shared"))
    assert one[0] == two[0] == {}
    np.testing.assert_array_equal(one[1], two[1])

    def apart(processes):
        with pytest.raises(ConfigError) as caught:
            prepare(processes, tmp_path / f"machine-{processes.rank}")
        return str(caught.value)

    said = together(2, apart)
    assert said[0] == said[1]
    assert "20 rows of other processes are not there; choose a --cache-folder that all" in said[0]


def test_what_is_wrong_with_the_shard_of_one_process_is_told_by_all(shards, tmp_path):
    good = write_shard(tmp_path / "a.tar", [("1.jpg", b""), ("1.cls", b"1")])
    write_shard(tmp_path / "b.tar", [("1.jpg", b"")])

    def read(processes):
        with pytest.raises(DatasetError) as caught:
            read_roots([f"{good.parent}/*.tar"], (), ShardIndexer(processes=processes))
        return str(caught.value)

    assert len({*together(2, read)}) == 1


def together(world, work):
    """What so many processes give, whose exchanges are real and go through memory."""
    barrier, box, found = threading.Barrier(world, timeout=60), [None] * world, [None] * world

    class Thread(Processes):
        def together(self, make):
            try:
                box[self.rank] = make()
            except FakescanError as e:
                box[self.rank] = e
            barrier.wait()
            values = list(box)
            barrier.wait()
            for value in values:
                if isinstance(value, FakescanError):
                    raise value
            return values

    def run(rank):
        found[rank] = work(Thread(rank, world))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
