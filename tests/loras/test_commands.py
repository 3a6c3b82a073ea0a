"""The commands on a messy folder: what is listed, what is said, and how they end."""

import csv
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from loras_made import factors, kohya, write

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs links and odd names")


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_an_index_lists_what_it_leaves_out_and_why(run, messy, tmp_path):
    code, out, err = run("index", messy, "--out", tmp_path / "idx")
    assert (code, out) == (0, "")
    lines = err.splitlines()
    assert lines[-1].startswith(f"{tmp_path / 'idx'}: 20 files, 19 different; ")
    assert lines[-1].endswith(" read now, 5 skipped, 0 gone")
    for name, reason in (
        ("model.safetensors", "holds no LoRA"),
        ("cut.safetensors", "cut short"),
        ("old.ckpt", "may be a pickle"),
        ("oft.safetensors", "unsupported adapter type OFT"),
        ("gone.safetensors", "cannot be read"),
    ):
        (line,) = [line for line in lines if f"skipped: {name}: " in line]
        assert reason in line


def test_inspect_says_what_a_file_holds(run, messy):
    code, out, _ = run("inspect", messy / "ink" / "0.safetensors", "-f", "json")
    (row,) = json.loads(out)["rows"]
    assert code == 0
    assert (row["dialect"], row["type"], row["modules"], row["rank"]) == ("kohya", "LoRA", 3, "4")


@pytest.mark.parametrize("name", ["model", "cut", "oft"])
def test_a_file_that_is_asked_about_and_cannot_be_used_ends_with_3(run, messy, indexed, name):
    path = messy / f"{name}.safetensors"
    for command in (["inspect", path], ["search", indexed, path], ["attribute", indexed, path]):
        code, out, err = run(*command)
        assert (code, out) == (3, "")
        assert err.startswith(f"fakescan: {path}: ")
        assert len(err.splitlines()) == 1


def test_inspect_goes_on_after_a_bad_file(run, messy):
    code, out, err = run("inspect", messy / "cut.safetensors", messy / "ink" / "0.safetensors")
    assert code == 3
    assert len(out.splitlines()) == 2
    assert "cut short" in err


def test_inspect_lists_modules(run, messy):
    path = messy / "ink" / "0.safetensors"
    _, out, _ = run("inspect", path, "--per-module", "-f", "csv")
    assert [row["group"] for row in rows(out)] == ["attn-self", "attn-cross", "ff"]


def test_search_finds_the_same_update_from_another_trainer(run, indexed, other_dialect):
    code, out, _ = run("search", indexed, other_dialect, "--top", "6", "-f", "csv")
    found = rows(out)
    assert code == 0
    assert found[0]["path"] == "ink/2.safetensors"
    assert float(found[0]["raw"]) > 0.999
    assert found[0]["note"] == "same update"
    assert sum("ink" in row["path"] or row["path"] == "export.safetensors" for row in found) == 6
    assert {row["by"] for row in found} == {"factors"}


def test_sketches_rank_as_factors_do(run, indexed, other_dialect):
    _, out, _ = run("search", indexed, other_dialect, "--compare", "sketch", "-f", "csv")
    assert rows(out)[0]["path"] == "ink/2.safetensors"
    assert {row["by"] for row in rows(out)} == {"sketch"}


def test_search_goes_on_without_the_files(run, messy, other_dialect, tmp_path):
    copy = shutil.copytree(messy, tmp_path / "copy", symlinks=True)
    run("index", copy, "--out", tmp_path / "idx", "-q")
    shutil.rmtree(copy)
    code, out, _ = run("search", tmp_path / "idx", other_dialect, "-f", "csv")
    assert code == 0
    assert rows(out)[0]["path"] == "ink/2.safetensors"
    assert rows(out)[0]["by"] == "sketch"


def test_search_compares_one_part_of_the_model(run, indexed, other_dialect):
    _, out, _ = run("search", indexed, other_dialect, "--modules", "ff", "-f", "json")
    assert json.loads(out)["rows"][0]["path"] == "ink/2.safetensors"
    code, _, err = run("search", indexed, other_dialect, "--modules", "nose")
    assert code == 2
    assert "--modules nose: no such group; known: attn-cross, attn-self" in err


def test_a_file_for_another_base_model_is_not_compared(run, indexed, tmp_path):
    layers = {"mid_block.attentions.0.transformer_blocks.0.attn2.to_k": (64, 768)}
    for count, (name, metadata) in enumerate(
        (("a", None), ("b", {"ss_base_model_version": "flux"}))
    ):
        tensors = kohya(factors(count, 4, layers if metadata is None else {"x.y": (9, 9)}))
        write(tmp_path / "more" / f"{name}.safetensors", tensors, metadata)
    run("index", tmp_path / "more", "--out", tmp_path / "idx", "-q")
    code, out, err = run(
        "search", tmp_path / "idx", tmp_path / "more" / "a.safetensors", "-f", "json"
    )
    assert code == 0
    assert json.loads(out)["not_compared"] == {"another base model": 1}
    assert "not compared: 1 files: another base model" in err
    code, _, err = run("cluster", tmp_path / "idx")
    assert code == 2
    assert "several base models (flux, sd1); choose one with --family" in err


def test_duplicates_tell_copies_from_re_exports(run, indexed):
    code, out, _ = run("duplicates", indexed, "-f", "csv")
    found = rows(out)
    assert code == 0
    assert [(r["group"], r["likeness"], r["path"]) for r in found] == [
        ("1", "first", "copy of ink.safetensors"),
        ("1", "same bytes", "ink/0.safetensors"),
        ("2", "first", "export.safetensors"),
        ("2", "same update", "ink/1.safetensors"),
    ]
    assert float(found[3]["raw"]) > 0.999
    assert found[3]["by"] == "factors"


def test_cluster_finds_the_styles_and_draws_them(run, indexed, tmp_path):
    target = tmp_path / "r.json"
    code, out, err = run(
        "cluster", indexed, "--pictures", tmp_path / "p", "-o", target, "-f", "csv"
    )
    assert code == 0
    clusters = {row["path"]: row["cluster"] for row in rows(out)}
    for style in ("ink", "oil", "pixel"):
        assert len({clusters[f"{style}/{n}.safetensors"] for n in range(6)}) == 1
    assert len(set(clusters.values())) == 3
    assert json.loads(target.read_text())["clusters"] == 3
    for name in ("dendrogram.png", "heatmap.png", "map.png"):
        assert (tmp_path / "p" / name).read_bytes().startswith(b"\x89PNG")
    assert "map.html" in err


@pytest.mark.parametrize("method", ["kmeans", "linkage"])
def test_cluster_makes_as_many_groups_as_asked(run, indexed, method):
    _, out, _ = run("cluster", indexed, "--k", "4", "--method", method, "-f", "json")
    assert json.loads(out)["clusters"] == 4
    code, _, err = run("cluster", indexed, "--k", "99", "--method", method)
    assert code == 2
    assert "99 groups of 20 files: from 1 to 20" in err


def test_attribute_names_the_style_by_folder(run, indexed, other_dialect):
    code, out, err = run("attribute", indexed, other_dialect, "-f", "json")
    found = json.loads(out)
    assert code == 0
    assert found["rows"][0]["label"] == "ink"
    assert "not proof of training on anybody's works" in found["caveat"]
    assert "not proof" in err


def test_eval_judges_labels_and_other_features(run, indexed, tmp_path):
    labels, features = tmp_path / "l.csv", tmp_path / "f.csv"
    names = [(f"{s}/{n}.safetensors", s, n) for s in ("ink", "oil", "pixel") for n in range(6)]
    labels.write_text("path,label,content\n" + "".join(f"{p},{s},{n}\n" for p, s, n in names))
    rng = np.random.default_rng(0)
    features.write_text("path,a,b\n" + "".join(f"{p},{rng.random()},{n}\n" for p, _, n in names))
    code, out, _ = run("eval", indexed, "--labels", labels, "--features", features, "-f", "csv")
    assert code == 0
    found = {(r["by"], r["figure"]): r for r in rows(out)}
    assert float(found["weights", "R@1"]["value"]) == 1.0
    assert float(found["weights", "ARI, k-means"]["value"]) == 1.0
    assert float(found["weights", "p value of R@1"]["value"]) == pytest.approx(1 / 1001, abs=1e-6)
    assert float(found["features", "R@1"]["value"]) < 1.0
    assert float(found["weights", "R@1 for content"]["value"]) < 0.5


def test_the_published_descriptor_warns_and_states_its_conditions(run, indexed, tmp_path):
    code, _, err = run("cluster", indexed, "--descriptor", "paper", "--k", "3")
    assert code == 0
    assert "warning: the published descriptor compares A and B themselves" in err
    folder = tmp_path / "ranks"
    for rank in (2, 3):
        write(folder / f"{rank}.safetensors", kohya(factors(0, rank)))
    run("index", folder, "--out", tmp_path / "idx", "-q")
    code, _, err = run("cluster", tmp_path / "idx", "--descriptor", "paper")
    assert code == 2
    assert "it needs files that agree in all three" in err
    code, _, err = run("cluster", indexed, "--descriptor", "paper", "--compare", "sketch")
    assert code == 2


def test_names_cannot_drive_a_terminal_or_a_spreadsheet(run, tmp_path):
    folder = tmp_path / "odd"
    write(folder / "=1+1.safetensors", kohya(factors(0)))
    write(folder / "\x1b[2J.safetensors", kohya(factors(0)))
    run("index", folder, "--out", tmp_path / "idx", "-q")
    for format_ in ("table", "csv", "json"):
        _, out, err = run("duplicates", tmp_path / "idx", "-f", format_)
        assert "\x1b" not in err
        assert format_ == "csv" or "\x1b" not in out
    assert "'=1+1.safetensors" in run("duplicates", tmp_path / "idx", "-f", "csv")[1]


@pytest.mark.parametrize("command", ["search", "cluster", "duplicates", "attribute"])
def test_no_index_is_one_line(run, tmp_path, command, other_dialect):
    more = [other_dialect] if command in ("search", "attribute") else []
    code, out, err = run(command, tmp_path / "none", *more)
    assert (code, out) == (2, "")
    assert err == f"fakescan: {tmp_path / 'none'}: no index; make one: fakescan lora index\n"


def test_an_empty_folder_gives_an_empty_index(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert run("index", tmp_path / "empty", "--out", tmp_path / "idx")[0] == 0
    assert run("duplicates", tmp_path / "idx")[0] == 0
    assert run("cluster", tmp_path / "idx")[0] == 2


@pytest.mark.parametrize("command", ["cluster", "attribute"])
def test_a_missing_extra_is_named_in_one_line(command, indexed, other_dialect):
    code = (
        "import sys\nfor name in ('scipy', 'sklearn', 'matplotlib'): sys.modules[name] = None\n"
        "from fakescan.cli import run\nsys.argv[0] = 'fakescan'\nrun()"
    )
    more = [str(other_dialect)] if command == "attribute" else []
    done = subprocess.run(
        [sys.executable, "-c", code, "lora", command, str(indexed), *more],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'fakescan[lora]'" in done.stderr


def test_inspect_index_and_search_need_no_extra(indexed, messy, other_dialect, tmp_path):
    code = (
        "import sys\nfor name in ('scipy', 'sklearn', 'matplotlib', 'torch', 'safetensors'):\n"
        "    sys.modules[name] = None\n"
        "from fakescan.cli import main\n"
        f"assert main(['lora', 'inspect', {str(other_dialect)!r}]) == 0\n"
        f"assert main(['lora', 'index', {str(messy)!r}, '--out', {str(tmp_path / 'i')!r}]) == 0\n"
        f"assert main(['lora', 'search', {str(indexed)!r}, {str(other_dialect)!r}]) == 0\n"
        f"assert main(['lora', 'duplicates', {str(indexed)!r}]) == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
