"""Several processes train as one."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fakescan.config import dump
from fakescan.errors import ConfigError
from fakescan.train.journal import read_journal
from fakescan.train.parallel import choose_device
from fakescan.train.run import train


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_processes_under_torchrun_give_the_loss_curve_of_one(
    config, data, pairs, tmp_path, processes
):
    config = replace(config, data=(data, pairs), epochs=3, averaging=0.9, batch_size=5)
    train(config, tmp_path / "one")
    (tmp_path / "config.toml").write_text(dump(config))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "fakescan", "train"]
    command += ["--config", tmp_path / "config.toml", "--out", tmp_path / "many"]
    done = subprocess.run(
        [*command, "-q", "--device", "cpu"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    one = read_journal(tmp_path / "one" / "metrics.jsonl")
    many = read_journal(tmp_path / "many" / "metrics.jsonl")
    assert len(one) == len(many) > 15
    for a, b in zip(one, many, strict=True):
        if a["kind"] == "step":
            assert a["bce"] == pytest.approx(b["bce"], abs=1e-5)
            assert a["load_balance"] == pytest.approx(b["load_balance"], abs=1e-5)
            np.testing.assert_allclose(
                list(a["usage"].values()), list(b["usage"].values()), atol=0.02
            )
        else:
            assert a["validation"] == pytest.approx(b["validation"], abs=1e-4)


def test_cuda_without_a_gpu_is_one_line(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="finds no GPU"):
        choose_device("cuda")
    assert choose_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="known: auto, cpu, cuda"):
        choose_device("tpu")
