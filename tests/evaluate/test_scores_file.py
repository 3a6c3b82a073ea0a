"""Somebody else's scores: matched by path, never guessed."""

from pathlib import Path

import pytest

from fakescan.data.samples import Sample
from fakescan.errors import DatasetError
from fakescan.evaluate.scores_file import read_scores

SAMPLES = [
    Sample(path=Path("data") / key, key=key, label=label, source="s")
    for key, label in (("0_real/a.png", 0), ("0_real/b.png", 0), ("1_fake/c.png", 1))
]


@pytest.fixture
def read(tmp_path):
    """Read a CSV of these lines."""

    def read_lines(*lines, samples=SAMPLES, others=()):
        path = tmp_path / "scores.csv"
        path.write_text("\n".join(lines) + "\n")
        return read_scores(path, samples, others)

    return read_lines


def test_paths_are_keys_or_lead_to_the_file(read):
    found = read(
        "score,path",
        "0.25,0_real/a.png",
        "0.5,data/0_real/b.png",
        f"0.75,{Path.cwd() / 'data/x/../1_fake/c.png'}",
    )
    assert found.scores.tolist() == [0.25, 0.5, 0.75]
    assert found.table.logits.tolist() == [0.25, 0.5, 0.75]
    assert [s.key for s in found.table.samples] == [s.key for s in SAMPLES]
    assert found.is_probability
    assert found.surplus == found.table.unreadable == ()


def test_missing_and_surplus_rows_are_named(read):
    found = read("path,score", "0_real/a.png,0.1", "1_fake/c.png,0.9", "c.png,0.9", "other.png,1")
    assert found.surplus == ("c.png", "other.png")  # a name alone is no path
    ((key, reason),) = found.table.unreadable
    assert key == "0_real/b.png"
    assert reason.startswith("no row in ")


def test_rows_of_other_images_of_the_data_are_no_surplus(read):
    found = read(
        "path,score", "0_real/a.png,0.1", "1_fake/c.png,9", samples=SAMPLES[:1], others=SAMPLES
    )
    assert found.surplus == ()
    assert len(found.table.samples) == 1
    assert not found.is_probability  # of the file, whatever part of it is looked at


def test_logits_rank_where_every_row_has_one(read):
    lines = ["path,score,logit", "0_real/a.png,1,7.5", "0_real/b.png,1,8.5"]
    assert read(*lines, "1_fake/c.png,1,9.5").table.logits.tolist() == [7.5, 8.5, 9.5]
    assert read(*lines, "1_fake/c.png,0.5,").table.logits.tolist() == [1, 1, 0.5]


def test_rows_without_a_score_are_left_out_with_their_reason(read):
    found = read(
        "path,verdict,score,error",
        "0_real/a.png,error,,damaged",
        "0_real/b.png,real,nan,",
        "1_fake/c.png,fake,0.9,",
    )
    assert found.table.unreadable == (
        ("0_real/a.png", "damaged"),
        ("0_real/b.png", "its score is nan"),
    )
    assert found.is_probability


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,p", "a.png,1"], "no column score; expected path and score, there are: path, p"),
        ([""], "no column path and score; expected path and score, there are: none"),
        (["path,score", "0_real/a.png,high"], "line 2: score 'high' is no number"),
        (["path,score", ",1"], "line 2: no path"),
        (["path,score", "0_real/a.png,1", "./0_real/a.png,1"], "a second row for the same image"),
        (["path,score", "x.png,1"], "none of its 1 paths, such as 'x.png', .* '0_real/a.png'"),
        (["path,score"], "none of its 0 paths"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_one_clear_line(read, lines, message):
    with pytest.raises(DatasetError, match=message):
        read(*lines)


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(DatasetError, match="no such file"):
        read_scores(tmp_path / "none.csv", SAMPLES)
