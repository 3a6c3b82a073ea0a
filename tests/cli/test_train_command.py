"""`fakescan train` as a person meets it."""

import subprocess
import sys

import pytest
from PIL import Image

from fakescan.cli import main
from fakescan.cli.training import override
from fakescan.errors import ConfigError
from fakescan.train.settings import TrainConfig


def lines(capsys):
    found = capsys.readouterr()
    assert found.out == ""
    return found.err.splitlines()


@pytest.fixture
def one_class(tmp_path):
    folder = tmp_path / "data" / "phone" / "0_real"
    folder.mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(folder / "a.png")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no training data"),
        (["gone"], "no such folder"),
        (["--config", "gone.toml"], "no such file"),
        (["--resume"], "no run to resume"),
        (["--epochs", "-1"], "epochs must not be negative"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments, "--out", str(tmp_path / "run")]) == 2
    (line,) = lines(capsys)
    assert line.startswith("fakescan: ")
    assert said in line


@pytest.mark.parametrize(
    "arguments",
    [["train", "--out"], ["data", "pairs", "--autoencoder", "none", "--out"]],
)
@pytest.mark.parametrize(
    ("data", "said"), [("gone", "gone: no such folder"), (".", "the package torch")]
)
def test_without_torch_a_wrong_folder_is_told_first(one_class, tmp_path, arguments, data, said):
    code = (
        "import sys; sys.modules['torch'] = None; from fakescan.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, *arguments, str(tmp_path / "out"), data]
    done = subprocess.run(command, cwd=one_class, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert said in line


def test_one_class_is_named(one_class, tmp_path, capsys):
    assert main(["train", str(one_class), "--out", str(tmp_path / "run")]) == 2
    (line,) = lines(capsys)
    assert "fake" in line


def test_resume_refuses_other_settings(tmp_path, capsys):
    assert main(["train", "--resume", "--lr", "1", "--out", str(tmp_path)]) == 2
    (line,) = lines(capsys)
    assert "--resume takes the settings of" in line


def test_options_come_before_the_file():
    base = TrainConfig(lr=1.0, epochs=3)
    found = override(base, {("lr",): 2.0, ("model", "levels"): [2, 4], ("cache", "max_gb"): 5.0})
    assert (found.lr, found.epochs, found.cache.max_gb) == (2.0, 3, 5.0)
    assert (found.model.head, found.model.levels) == ("levels", (2, 4))


def test_an_empty_list_of_adapted_blocks_means_none():
    found = override(TrainConfig(), {("model", "levels"): [2], ("model", "mole", "blocks"): []})
    assert found.model.mole.blocks == ()


def test_a_wrong_setting_is_named():
    with pytest.raises(ConfigError, match="options: lr: expected float"):
        override(TrainConfig(), {("lr",): "fast"})


def test_asking_for_help_loads_no_torch():
    code = (
        "import sys; from fakescan.cli import main; main(['train', '--help']);"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--resume" in done.stdout
