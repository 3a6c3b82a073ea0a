import subprocess
import sys

import pytest

import fakescan
from fakescan import weights
from fakescan.cli import main


def test_version_names_package_detector_and_runtime(tmp_path, capsys, monkeypatch):
    (tmp_path / "registry.toml").write_text(
        f'default = "one"\n[one]\nfile = "a.onnx"\nbytes = 1\nsha256 = "{"ab" * 32}"\n'
    )
    monkeypatch.setattr(weights, "_home", lambda: tmp_path)
    assert main(["--version"]) == 0
    package, detector, runtime = capsys.readouterr().out.splitlines()
    assert package == f"fakescan {fakescan.__version__}"
    assert detector == f"detector one, sha256 {'ab' * 32}"
    assert runtime.startswith("ONNX Runtime 1.")


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from fakescan.cli import main\n"
        "assert main(['--help']) == 0\n"
        "heavy = {'torch', 'onnxruntime', 'pandas', 'numpy', 'PIL', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_bug_is_a_traceback_a_line_and_a_code_of_its_own(photos, capsys, monkeypatch):
    def fall_over():
        raise ZeroDivisionError("nobody thought of it")

    monkeypatch.setattr("fakescan.scan.cache.default_path", fall_over)
    assert main(["cache", "info"]) == 70
    err = capsys.readouterr().err
    assert "ZeroDivisionError: nobody thought of it" in err
    assert err.splitlines()[-1].startswith("fakescan: this is a bug in fakescan; please report it")


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"]])
def test_an_unknown_command_is_code_2(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().out == ""


def test_python_m_fakescan_is_the_same_program():
    done = subprocess.run([sys.executable, "-m", "fakescan", "nonsense"], capture_output=True)
    assert done.returncode == 2
