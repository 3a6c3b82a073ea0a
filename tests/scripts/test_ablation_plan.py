"""The ablations: what is planned, and what the paper's tables order."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "experiments"))

from ablation_orderings import Claim, Ordering, claims, judge, over_seeds
from ablation_plan import ALL, BUDGETS, compared_with, narrowed, plan, recipes, settings
from ablation_report import write_table
from ablation_runs import write_manifest
from dev_scores import mean_figures, needed

from fakescan.data.samples import Sample, read_samples
from fakescan.errors import ConfigError
from fakescan.evaluate.benchmark import Pairing, ScoreTable, evaluate_by_source
from fakescan.evaluate.intervals import Estimate
from fakescan.model.backbone import BackboneConfig
from fakescan.model.detector import DetectorModel, count_parameters
from towers import tiny_tower

SMALL = BUDGETS["small"]


def table(name, head="final", blocks=12):
    return next(t for t in plan(head, blocks, SMALL) if t.name == name)


def rows_of(name, **options):
    return {row.name: row.recipe for row in table(name, **options).rows}


# What is planned ----------------------------------------------------------------------------


def test_the_blocks_are_none_the_last_one_to_six_and_all():
    rows = {name: recipe.model.mole.blocks for name, recipe in rows_of("adapted-blocks").items()}
    assert rows == {
        "none": (), "last1": (12,), "last2": (11, 12), "last3": (10, 11, 12),
        "last4": (9, 10, 11, 12), "last5": (8, 9, 10, 11, 12), "last6": (7, 8, 9, 10, 11, 12),
        "all": tuple(range(1, 13)),
    }  # fmt: skip


def test_our_head_counts_from_the_block_that_it_reads_last():
    rows = rows_of("adapted-blocks", head="levels")
    assert rows["last3"].model.mole.blocks == (6, 7, 8)
    assert rows["last3"].model.levels == (4, 6, 8)
    assert rows["all"].model.depth == 8


def test_the_designs_are_those_of_table_5():
    moles = {name: recipe.model.mole for name, recipe in rows_of("adapter-design").items()}
    assert [(n, m.site, m.experts) for n, m in moles.items()] == [
        ("a", "attention", "shared"),
        ("b", "mlp", "shared"),
        ("c", "both", "shared"),
        ("d", "mlp", "separate"),
        ("e", "mlp", "both"),
    ]
    assert {m.shared_rank for m in moles.values()} == {8}


def test_every_row_of_the_papers_tables_is_a_row_of_ours():
    for name in ("adapted-blocks", "adapter-design", "ranks"):
        printed = {n for claim in claims(name) for n in (claim.better, claim.worse)}
        assert printed <= rows_of(name).keys()
    assert len(rows_of("ranks")) == 8
    assert rows_of("ranks")["8|8;8;8;8"].model.mole.separate_ranks == (8, 8, 8, 8)


def test_a_detector_that_several_tables_show_is_trained_once():
    tables = plan("final", 12, SMALL)
    shared = {
        next(r.recipe for t in tables if t.name == name for r in t.rows if r.name == row)
        for name, row in (
            ("adapted-blocks", "last3"),
            ("adapter-design", "e"),
            ("ranks", "8|4;8;16"),
            ("data-size", "400"),
        )
    }
    assert len(shared) == 1
    assert len(recipes(tables)) == 8 + 5 + 8 + 3 - 3
    assert len({recipe.name for recipe in recipes(tables)}) == len(recipes(tables))


def test_one_trunk_cache_serves_all_rows_with_the_same_first_block_and_none_serves_all(tmp_path):
    config = {
        name: settings(recipe, 0, SMALL, BackboneConfig(), tmp_path, tmp_path / "trunk")
        for name, recipe in (rows_of("adapted-blocks") | rows_of("adapter-design")).items()
    }
    assert not config["all"].cache.enabled
    assert all(c.cache.enabled for name, c in config.items() if name != "all")
    # Split stores would differ between experts on the MLP and on the attention.
    assert not any(c.cache.split for c in config.values())
    needs = {name: needed(c.model) for name, c in config.items()}
    assert {tuple(needs[name]) for name in ("a", "b", "c", "d", "e", "last3")} == {("tokens-10",)}
    assert needs["none"] == ["final"]
    assert len({(c.draw_seed, c.draws, c.epochs, c.data) for c in config.values()}) == 1


def test_nothing_is_held_out_so_that_no_row_is_saved_by_stopping_early(tmp_path):
    (recipe, *_) = recipes(plan("final", 12, SMALL))
    config = settings(recipe, 3, SMALL, BackboneConfig(), tmp_path, tmp_path)
    assert (config.validation, config.patience, config.seed) == (0.0, 0, 3)


def test_a_smaller_number_of_images_lies_inside_a_larger_one_under_the_same_names(tmp_path):
    data = tmp_path / "data"
    for label, leaf in ((0, "0_real"), (1, "1_fake")):
        (data / "s" / leaf).mkdir(parents=True)
        for i in range(20):
            (data / "s" / leaf / f"{label}{i}.png").write_bytes(b"")
    samples = read_samples(data)
    lists = {
        n: {s.key for s in read_samples(write_manifest(tmp_path / "out", data, samples, n))}
        for n in (10, 20, ALL)
    }
    assert lists[10] < lists[20] < lists[ALL]
    assert [len(keys) for keys in lists.values()] == [10, 20, 40]
    assert {key.split("/")[0] for key in lists[ALL]} == {"data"}  # wherever the data lies


def test_unknown_tables_and_rows_are_named_and_a_reference_row_stays():
    tables = plan("final", 12, SMALL)
    with pytest.raises(ConfigError, match=r"'depth'.*adapted-blocks"):
        narrowed(tables, ["depth"], None)
    with pytest.raises(ConfigError, match=r"'last9'.*last3"):
        narrowed(tables, None, ["last9"])
    (chosen,) = narrowed(tables, ["adapted-blocks"], ["none", "all"])
    assert [row.name for row in chosen.rows] == ["none", "last3", "all"]


def test_a_table_can_be_compared_with_another_of_its_rows():
    tables = plan("final", 12, SMALL)
    found = {t.name: t.reference for t in compared_with(tables, "none")}
    assert found == {t.name: t.reference for t in tables} | {"adapted-blocks": "none"}
    with pytest.raises(ConfigError, match="'last9'"):
        compared_with(tables, "last9")


# What the paper orders ----------------------------------------------------------------------


def test_the_claims_are_read_off_the_printed_tables():
    blocks = {(c.better, c.worse): dict(c.printed) for c in claims("adapted-blocks")}
    assert blocks["last3", "none"] == {"ViT-B/32": pytest.approx(4.77)}
    assert blocks["last3", "last4"] == {
        "ViT-B/32": pytest.approx(0.44),
        "ViT-L/14": pytest.approx(0.09),
    }
    assert ("last5", "all") in blocks  # neighbours in the table, deeper is worse
    assert len([pair for pair in blocks if pair[0] == "last3"]) == 7
    designs = [(c.better, c.worse) for c in claims("adapter-design")]
    assert designs[:4] == [("b", "a"), ("c", "a"), ("d", "a"), ("e", "a")]
    assert len(designs) == 10
    ranks = {(c.better, c.worse) for c in claims("ranks")}
    assert ("8|8;8;8", "8|8;8;8;8") in ranks
    assert len(ranks) == 7 + 3
    assert claims("data-size", ["100", "200", "all"]) == [
        Claim("200", "100", ()),
        Claim("all", "200", ()),
    ]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.001, 0.02, "holds"), (-0.02, -0.001, "does not"), (-0.001, 0.02, "cannot be told")],
)
def test_a_verdict_is_where_the_interval_lies(low, high, verdict):
    estimate = Estimate((low + high) / 2, low, high)
    assert Ordering(Claim("e", "d", ()), estimate, estimate, 3).verdict == verdict


def test_the_interval_is_over_images_and_seeds():
    noise = np.random.default_rng(0).normal(0, 0.001, (3, 1001))
    seeds = [np.full(1001, v) + n for v, n in zip((0.0, 0.02, 0.04), noise, strict=True)]
    found = over_seeds(seeds)
    assert found.value == pytest.approx(0.02, abs=0.002)
    assert found.low < 0.005
    assert found.high > 0.035
    one = over_seeds(seeds[1:2])
    assert one.high - one.low < 0.006


def test_differences_are_of_the_seeds_that_both_rows_have():
    def figures(value):
        return {name: np.full(1001, value) for name in ("ap", "auc")}

    rows = {"e": {0: figures(0.9), 1: figures(0.5)}, "d": {0: figures(0.8)}}
    found = judge(Claim("e", "d", ()), rows)
    assert (found.seeds, found.verdict) == (1, "holds")
    assert found.ap.value == pytest.approx(0.1)
    assert judge(Claim("e", "c", ()), rows).verdict == "not run"


def test_the_mean_is_that_of_the_benchmark():
    rng = np.random.default_rng(0)
    labels = [0] * 30 + [1] * 20
    samples = tuple(
        Sample(path=Path(f"{i}"), key=f"{i}", label=label, source=f"{label}{i % 2}")
        for i, label in enumerate(labels)
    )
    scores = ScoreTable(samples, rng.normal(np.array(labels, float), 1))
    ours = mean_figures(scores, Pairing())
    theirs = evaluate_by_source(scores, Pairing()).mean
    for name in ("auc", "ap"):
        values = ours[name]
        assert values[0] == pytest.approx(getattr(theirs, name).value)
        assert np.quantile(values[1:], 0.025) == pytest.approx(getattr(theirs, name).low)


def test_a_table_without_runs_says_so(tmp_path):
    text = write_table(tmp_path, table("ranks"), {}, ["nothing was run"])
    assert text.count("| | not run |") == 8
    assert "Of these orderings: not run 10." in text


def test_parameters_are_those_of_the_paper():
    model = DetectorModel(tiny_tower(blocks=4), rows_of("adapted-blocks", blocks=4)["last3"].model)
    assert count_parameters(model)[0] == 3 * (72 + 3) * 32 + 8 + 1
