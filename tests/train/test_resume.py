"""Killed runs go on as if nothing had happened; wrong resumes are refused in one line."""

import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from fakescan.config import dump
from fakescan.errors import ConfigError
from fakescan.train.folder import read_run, write_config
from fakescan.train.journal import read_journal
from fakescan.train.run import train

SAME = ("checkpoint.safetensors", "calibration.json", "metrics.jsonl", "unreadable.csv")


@pytest.fixture
def long_config(shared_config):
    return replace(shared_config, epochs=12, averaging=0.9, monitor="loss")


def start(config, out, *more):
    """A real `fakescan train`, as a process."""
    file = out.with_suffix(".toml")
    file.write_text(dump(config))
    options = more or ("--config", str(file))
    command = [sys.executable, "-m", "fakescan", "train", "--out", str(out), *options, "-q"]
    return subprocess.Popen([*command, "--device", "cpu"], stderr=subprocess.PIPE, text=True)


def finish(process):
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors == ""


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(2))
def test_a_killed_run_resumes_to_the_same_bytes(long_config, tmp_path, attempt):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(long_config, whole))
    process = start(long_config, killed)
    steps = random.Random(attempt).randrange(2, 40)
    while len(read_journal(killed / "metrics.jsonl")) < steps and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.communicate()
    finish(start(long_config, killed, "--resume"))
    for name in SAME:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


class StoppedError(Exception):
    """As sudden as it can be within one process."""


class StopAfter:
    def __init__(self, steps):
        self.steps = steps

    def progress(self, stage, done, total):
        if stage == "train" and done == self.steps:
            raise StoppedError

    def note(self, text):
        pass


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_run_that_stops_after_any_step_resumes_to_the_same_bytes(long_config, tmp_path, steps):
    config = replace(long_config, epochs=2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(config, whole)
    with pytest.raises(StoppedError):
        train(config, broken, listener=StopAfter(steps))
    train(read_run(broken), broken, resume=True)
    for name in SAME:
        assert (broken / name).read_bytes() == (whole / name).read_bytes(), name


def test_resuming_a_finished_run_changes_nothing(config, tmp_path):
    out = tmp_path / "run"
    train(config, out)
    before = {name: (out / name).read_bytes() for name in SAME}
    train(read_run(out), out, resume=True)
    assert before == {name: (out / name).read_bytes() for name in SAME}


def test_a_run_that_was_killed_before_its_first_step_begins_anew(shared_config, finished, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    write_config(out, read_run(finished))
    train(read_run(out), out, resume=True)
    for name in SAME:
        assert (out / name).read_bytes() == (finished / name).read_bytes(), name


def test_resuming_with_other_images_is_refused(shared_config, data, pairs, tmp_path):
    out = tmp_path / "run"
    train(shared_config, out)
    with pytest.raises(ConfigError, match="not those that the run began with"):
        train(replace(read_run(out), data=(data, pairs)), out, resume=True)


def test_resuming_on_another_backbone_is_refused(shared_config, backbone, write_detector, tmp_path):
    out = tmp_path / "run"
    train(shared_config, out)
    other = replace(backbone, weights=write_detector(tmp_path / "other.onnx", class_scale=2.0))
    with pytest.raises(ConfigError, match="another backbone"):
        train(replace(read_run(out), backbone=other), out, resume=True)


def test_a_damaged_state_is_refused(shared_config, tmp_path):
    out = tmp_path / "run"
    train(shared_config, out)
    (out / "resume.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="not a state"):
        train(read_run(out), out, resume=True)


def test_nothing_to_resume_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="no run to resume"):
        read_run(tmp_path)
