"""Which reals a row meets, and what a limit leaves."""

from pathlib import Path

import pytest

from fakescan.data.samples import Sample
from fakescan.errors import DatasetError
from fakescan.evaluate.pairing import Pairing, compare, limited


def sample(key, label, source, **more):
    return Sample(path=Path(key), key=key, label=label, source=source, **more)


def several(source, label, count, **more):
    return [sample(f"{source}/{label}/{i}", label, source, **more) for i in range(count)]


def met(comparison):
    return len(comparison.fakes), sorted({s.source for s in comparison.reals})


def test_fakes_meet_the_reals_of_their_own_folder():
    samples = [
        *several("progan/cat", 1, 2, generator="progan"),
        *several("progan/cat", 0, 2),
        *several("progan/dog", 1, 3, generator="progan"),
        *several("progan/dog", 0, 1),
        *several("biggan", 1, 1, generator="biggan"),
        *several("biggan", 0, 1),
    ]
    biggan, progan = compare(samples, by="generator")
    assert (biggan.name, met(biggan)) == ("biggan", (1, ["biggan"]))
    assert (progan.name, met(progan)) == ("progan", (5, ["progan/cat", "progan/dog"]))
    assert [c.name for c in compare(samples, by="source")] == ["biggan", "progan/cat", "progan/dog"]


def test_fakes_without_such_a_folder_meet_those_of_the_folder_above():
    samples = [
        *several("celebahq/sdv2", 1, 2, generator="sdv2"),
        *several("celebahq", 0, 3),
        *several("lsun", 0, 3),
    ]
    assert met(compare(samples, by="generator")[0]) == (2, ["celebahq"])


def test_fakes_without_any_meet_all_reals():
    samples = [*several("sd", 1, 2), *several("cameras", 0, 3), *several("paintings", 0, 1)]
    (row,) = compare(samples, by="generator")
    assert (row.name, row.family, met(row)) == ("sd", "sd", (2, ["cameras", "paintings"]))


def test_a_pairing_decides_where_there_is_one():
    samples = [*several("sd", 1, 1), *several("sd", 0, 1), *several("cameras", 0, 1)]
    (row,) = compare(samples, pairing=Pairing(pairs={"s*": ["cam*"]}))
    assert met(row) == (1, ["cameras"])
    with pytest.raises(DatasetError, match="sd: no real image of x to compare with"):
        compare(samples, pairing=Pairing(others=("x",)))


def test_a_generator_belongs_to_the_family_of_most_of_its_images():
    samples = [
        *several("a", 1, 2, generator="g", family="GAN"),
        *several("b", 1, 1, generator="g", family="other"),
        *several("r", 0, 1),
    ]
    assert [c.family for c in compare(samples, by="generator")] == ["GAN"]


def test_one_class_alone_is_refused():
    with pytest.raises(DatasetError, match="only fakes"):
        compare(several("sd", 1, 2))


def test_a_smaller_limit_lies_inside_a_larger_one_and_keeps_rows_whole():
    samples = [
        *several("sd", 1, 30),
        *several("gan", 1, 5),
        *several("cameras", 0, 40),
        *several("screens", 0, 9),
    ]
    rows = compare(samples, pairing=Pairing(others=("cameras",)))
    few, more = (limited(rows, samples, n, seed=0) for n in (3, 12))
    assert {s.key for s in few} < {s.key for s in more}

    def counts(chosen):
        return [sum(s.source == n for s in chosen) for n in ("sd", "gan", "cameras", "screens")]

    assert counts(few) == [3, 3, 3, 3]
    assert counts(more) == [12, 5, 12, 9]
    assert few != limited(rows, samples, 3, seed=1)
    assert limited(rows, samples, 99, seed=0) == sorted(samples, key=lambda s: s.key)


def test_pairs_are_chosen_together():
    samples = [
        sample(f"{label}/{i}", label, "pairs", pair=f"p{i}") for label in (0, 1) for i in range(20)
    ]
    chosen = limited(compare(samples), samples, 4, seed=0)
    fakes, reals = ({s.pair for s in chosen if s.label == label} for label in (1, 0))
    assert fakes == reals
    assert len(fakes) == 4
