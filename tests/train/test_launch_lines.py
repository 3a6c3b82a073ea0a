"""The lines for clusters, as the page has them: two machines of one process each, on this one."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fakescan.config import dump
from fakescan.data.samples import read_samples
from fakescan.train.journal import read_journal
from fakescan.train.run import train
from shards_made import write_shards
from stores import free_port

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "train-on-many-machines.md"
SRUN = '#!/bin/bash\n"$@" &\n"$@" &\nwait -n && wait -n\n'


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def stubs(folder):
    """What SLURM would bring, for two machines that are this one."""
    folder.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", "#!/bin/bash\necho localhost\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "1",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "localhost",
    }


@pytest.mark.slow
def test_the_lines_for_slurm_train_on_two_machines_and_go_on(config, data, tmp_path):
    pattern = write_shards(tmp_path / "shards", read_samples(data), 3)
    config = replace(config, data=(str(pattern),), epochs=1)
    train(replace(config, cache=replace(config.cache, folder=tmp_path / "alone")), tmp_path / "one")
    (tmp_path / "train.toml").write_text(dump(config))
    _, script, batch = blocks("bash")
    port = str(free_port())
    (tmp_path / "train.sh").write_text(
        script.replace("/shared", str(tmp_path)).replace("29500", port)
    )
    command = ["bash", "-euc", batch.replace("/shared", str(tmp_path))]
    environment = os.environ | stubs(tmp_path / "bin")
    for _ in range(2):  # the second time there is a run, which is gone on with
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert "going on after step" in done.stderr
    (store,) = (path.parent for path in (tmp_path / "cache").glob("*/layout.json"))
    assert (store / "part-0001" / "rows.txt").read_text()
    runs = [read_journal(tmp_path / run / "metrics.jsonl") for run in ("one", "runs/first")]
    assert runs[0][-1]["validation"] == pytest.approx(runs[1][-1]["validation"], abs=1e-4)


def test_the_lines_for_kubernetes_give_the_script_all_that_it_asks_for():
    (text,) = blocks("yaml")
    service, job = yaml.safe_load_all(text)
    pod = job["spec"]["template"]["spec"]
    given = {pair["name"]: pair["value"] for pair in pod["containers"][0]["env"]}
    assert set(re.findall(r"\$([A-Z]+)", blocks("bash")[1])) == set(given)
    assert int(given["NODES"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert int(given["PROCESSES"]) == pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    name = job["metadata"]["name"]
    assert given["HEAD"] == f"{name}-0.{pod['subdomain']}"
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["selector"] == {"job-name": name}


@pytest.mark.parametrize("block", range(3))
def test_a_shell_reads_the_lines(block):
    subprocess.run(["bash", "-n", "-c", blocks("bash")[block]], check=True)
