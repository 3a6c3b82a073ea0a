"""The GitHub Action and the pre-commit hook do what they say: their own lines are run."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from identify.identify import tags_from_filename

from fakescan.image import FORMATS
from fakescan.scan.formats import SUFFIXES

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs bash")


@pytest.fixture
def action(root):
    return yaml.safe_load((root / "action.yml").read_text(encoding="utf-8"))


@pytest.fixture
def programs(tmp_path):
    """A folder with a `fakescan` that is this one."""
    folder = tmp_path / "programs"
    folder.mkdir()
    script = folder / "fakescan"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m fakescan "$@"\n')
    script.chmod(0o755)
    return folder


def step(action, name, folder, inputs, **environment):
    """Run one step as GitHub does: exit code and outputs."""
    (chosen,) = [s for s in action["runs"]["steps"] if s["name"] == name]
    values = {key: value["default"] for key, value in action["inputs"].items()} | inputs
    variables = {
        key: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: values[m[1]], text)
        for key, text in chosen["env"].items()
    }
    files = {name: str(folder / name) for name in ("GITHUB_OUTPUT", "GITHUB_PATH")}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", chosen["run"]],
        cwd=folder,
        env={**os.environ, **variables, **files, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    outputs = Path(files["GITHUB_OUTPUT"])
    lines = outputs.read_text().splitlines() if outputs.exists() else []
    return done, dict(line.split("=", 1) for line in lines)


def scan_step(action, programs, photos, tiny, **inputs):
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    chosen = {"arguments": f"--no-config --model {tiny}"} | {
        key.replace("_", "-"): value for key, value in inputs.items()
    }
    return step(action, "Scan", photos, chosen, PATH=path)


def test_the_action_fails_on_fakes_and_leaves_a_report(action, programs, photos, tiny):
    done, outputs = scan_step(action, programs, photos, tiny)
    assert (done.returncode, outputs) == (1, {"exit-code": "1", "report": "fakescan.json"})
    assert json.loads((photos / "fakescan.json").read_text())["counts"]["fake"] == 1


def test_the_action_takes_several_paths_and_verdicts(action, programs, photos, tiny):
    inputs = {"paths": "dark.jpg\ngrey.png", "fail_on": "fake error", "output": ""}
    done, outputs = scan_step(action, programs, photos, tiny, **inputs)
    assert (done.returncode, outputs["exit-code"]) == (0, "0")
    assert len(done.stdout.splitlines()) == 3


def test_the_action_never_runs_its_inputs(action, programs, photos, tiny):
    odd = "$(touch${IFS}owned) `touch owned` ; touch owned"
    inputs = {"paths": odd, "fail_on": "", "output": f"{odd}.json"}
    done, outputs = scan_step(action, programs, photos, tiny, **inputs)
    assert (done.returncode, outputs["exit-code"]) == (2, "2")
    assert not (photos / "owned").exists()


@pytest.mark.slow
def test_the_action_installs_itself_and_scans(action, photos, tiny, tmp_path, root):
    """As on a fresh machine: an environment of its own, and packages from the index."""
    inputs = {"python": sys.executable}
    environment = {"RUNNER_TEMP": str(tmp_path), "GITHUB_ACTION_PATH": str(root)}
    done, _ = step(action, "Install", tmp_path, inputs, **environment)
    assert done.returncode == 0, done.stderr
    programs = (tmp_path / "GITHUB_PATH").read_text().strip()
    assert programs.startswith(str(tmp_path))
    done, outputs = scan_step(action, programs, photos, tiny)
    assert (done.returncode, outputs["exit-code"]) == (1, "1"), done.stderr


@pytest.fixture
def hook(root):
    (only,) = yaml.safe_load((root / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    return only


@pytest.mark.parametrize(("name", "code"), [("dark.jpg", 0), ("sub/bright.webp", 1)])
def test_the_hook_refuses_fakes_only(hook, programs, photos, tiny, name, code):
    command = [*shlex.split(hook["entry"]), *hook["args"], "--no-config", "--model", tiny, name]
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        command, cwd=photos, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert name in done.stdout


def test_the_hook_is_given_every_format_that_is_known_by_name(hook):
    wanted = set(hook["types_or"])
    known = {s: tags_from_filename(f"x{s}") - {"binary", "image"} for s in SUFFIXES}
    assert {next(iter(tags)) for tags in known.values() if tags} == wanted
    assert len(wanted) == len(FORMATS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_each_shell(shell):
    environment = {**os.environ, "_FAKESCAN_COMPLETE": f"source_{shell}"}
    code = "import sys; sys.argv[0] = 'fakescan'; from fakescan.cli import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert "_FAKESCAN_COMPLETE" in done.stdout, done.stderr


def in_bash(script, programs, home):
    """What bash prints when it runs a script, `fakescan` being this one."""
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", script],
        cwd=home,
        env={**os.environ, "HOME": str(home), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split(), done.stderr


def test_bash_completes_once_completion_is_installed(programs, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    said, err = in_bash("fakescan --install-completion; true", programs, home)
    assert "bash" in said, err
    for typed, offered in (
        ("scan --for", {"--format"}),
        ("scan --format js", {"json", "jsonl"}),
        ("scan --flagged ", {"fake", "uncertain", "error"}),
        ("ca", {"cache", "calibrate"}),
    ):
        *before, last = typed.split(" ")
        words = " ".join(["fakescan", *before, f'"{last}"'])
        script = (
            f"source ~/.bashrc; COMP_WORDS=({words}); COMP_CWORD={len(before) + 1}\n"
            "function=$(complete -p fakescan | sed 's/.*-F //; s/ .*//')\n"
            f'$function fakescan "{last}"; echo "${{COMPREPLY[@]}}"'
        )
        found, err = in_bash(script, programs, home)
        assert set(found) == offered, err


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("sc", "scan"), ("scan --excl", "--exclude"), ("scan --fail-on u", "uncertain")],
)
def test_completion_knows_commands_options_and_choices(typed, offered, tmp_path):
    (tmp_path / "fakescan.toml").write_text("nonsense = 1")  # completing reads no settings
    words = typed.split()
    environment = {
        **os.environ,
        "_FAKESCAN_COMPLETE": "complete_bash",
        "COMP_WORDS": f"fakescan {typed}",
        "COMP_CWORD": str(len(words)),
    }
    code = "import sys; sys.argv[0] = 'fakescan'; from fakescan.cli import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert offered in done.stdout.split(), done.stderr
