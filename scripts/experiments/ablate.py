"""Train the rows of the paper's ablations, and say which of its orderings hold here.

    scripts/ablate DATA --out OUT --backbone-weights FILE [--budget small|full] [--only TABLE]

Four tables: adapted blocks, adapter design, ranks (tables 4 to 6 of the MoLE paper) and data size.
Each row is trained with several seeds on the same draws of the same images (splits `train` and
`train2` of DATA) and judged on `dev`, every source of fakes with the reals that `pairing.toml`
gives it. OUT gets one NAME.md and NAME.csv a table, NAME-orderings.csv with the verdicts, and
everything together in ablations.md.

`--budget small` is meant for a night on two cores, `full` for a CUDA card. Finished runs are kept,
so that a second call goes on where the first was stopped; `--report` only writes the tables of
what is there. `--plan` lists the runs and which trunk cache each reads.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from ablation_plan import (
    ALL,
    BUDGETS,
    Budget,
    Recipe,
    Table,
    compared_with,
    narrowed,
    plan,
    recipes,
    settings,
)  # fmt: skip
from ablation_report import Result, Results, write_table
from ablation_runs import Outcome, dev_samples, read_outcome, run, write_manifest
from dev_scores import PAIRING, FrozenViews, mean_figures

from fakescan.config import load
from fakescan.data.samples import Sample, read_samples
from fakescan.errors import FakescanError
from fakescan.evaluate.benchmark import ScoreTable
from fakescan.evaluate.pairing import Pairing
from fakescan.image import Preprocess
from fakescan.model.backbone import Backbone, BackboneConfig, load_backbone
from fakescan.model.detector import DetectorModel

TRAIN, DEV = ("train", "train2"), "dev"


@dataclass(frozen=True, slots=True)
class Setting:
    """What all runs of a call share."""

    out: Path
    budget: Budget
    seeds: tuple[int, ...]
    config: BackboneConfig
    backbone: Backbone
    device: str
    views: FrozenViews
    pairing: Pairing
    manifests: dict[int, Path]
    """By number of images."""
    called: str
    """The budget, and what options changed of it."""

    def outcome(self, recipe: Recipe, seed: int, *, may_train: bool) -> Outcome | None:
        """Of one run, which is trained when there is none and it may be."""
        folder = self.out / "runs" / f"{recipe.name}-seed{seed}"
        config = settings(
            recipe,
            seed,
            self.budget,
            self.config,
            self.manifests[recipe.images],
            self.out / "trunk",
        )
        known = read_outcome(folder, config, self.views.digest)
        if known is not None or not may_train:
            return known
        start = time.monotonic()
        say(f"{recipe.name}, seed {seed}")
        found = run(folder, config, self.backbone, self.views, device=self.device, say=say)
        say(f"  done in {time.monotonic() - start:.0f} s")
        return found


def say(text: str) -> None:
    """Print with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def prepared(
    args: argparse.Namespace,
    budget: Budget,
    tables: Sequence[Table],
    backbone: Backbone,
    config: BackboneConfig,
) -> Setting:
    """Read the data, list the training images, and store what the dev images' trunks need."""
    pairing = load(Pairing, args.pairing)
    train = read_samples(args.data, split=TRAIN)
    manifests = {
        n: write_manifest(args.out, args.data, train, n)
        for n in sorted({recipe.images for recipe in recipes(tables)})
    }
    px = backbone.tower.config.image_px
    dev = dev_samples(args.data, DEV, lambda s: _is_compared(s, pairing), args.dev_cap)
    views = FrozenViews(args.out / "dev", dev, Preprocess(image_px=px))
    return Setting(
        args.out,
        budget,
        tuple(args.seeds),
        config,
        backbone,
        args.device,
        views,
        pairing,
        manifests,
        called(args),
    )


def called(args: argparse.Namespace) -> str:
    """The budget, and the options that make a run less, or other, than that."""
    options = {"--images": args.images, "--epochs": args.epochs, "--dev-cap": args.dev_cap or None}
    changed = [f"{name} {value}" for name, value in options.items() if value is not None]
    whole = f"`--budget {args.budget} --head {args.head}`"
    return f"{whole}, changed by `{' '.join(changed)}`" if changed else f"{whole}, unchanged"


def _is_compared(sample: Sample, pairing: Pairing) -> bool:
    """Fakes, and reals that some source of fakes is compared with."""
    globs = [g for reals in (*pairing.pairs.values(), pairing.others) for g in reals]
    return bool(sample.label) or any(fnmatchcase(sample.source, glob) for glob in globs)


def train_all(setting: Setting, tables: Sequence[Table]) -> None:
    """Run what is missing, one seed of all rows after another, and keep the tables up to date."""
    wanted = recipes(tables)
    say("the frozen blocks of the development images")
    used = DetectorModel(setting.backbone.tower, wanted[0].model).tower  # all have one depth
    setting.views.prepare(used, [recipe.model for recipe in wanted])
    for table in tables:
        for seed in setting.seeds:
            for row in table.rows:
                setting.outcome(row.recipe, seed, may_train=True)
        report(setting, tables)


def report(setting: Setting, tables: Sequence[Table]) -> str:
    """Write the tables of all finished runs."""
    known: dict[tuple[Recipe, int], Result] = {}
    for recipe in recipes(tables):
        for seed in setting.seeds:
            outcome = setting.outcome(recipe, seed, may_train=False)
            if outcome is not None:
                scores = ScoreTable(tuple(setting.views.samples), outcome.logits)
                known[recipe, seed] = Result(outcome, mean_figures(scores, setting.pairing))
    texts = []
    for table in tables:
        results: Results = {
            row.name: {s: known[row.recipe, s] for s in setting.seeds if (row.recipe, s) in known}
            for row in table.rows
        }
        texts.append(write_table(setting.out, table, results, conditions(setting)))
    text = "# Ablations\n\n" + "\n".join(texts)
    (setting.out / "ablations.md").write_text(text, encoding="utf-8")
    return text


def conditions(setting: Setting) -> list[str]:
    """What was run, to stand above a table."""
    budget, dev = setting.budget, setting.views.samples
    images = ", ".join(
        f"{len(read_samples(path))} of `{'`, `'.join(TRAIN)}`"
        for n, path in setting.manifests.items()
        if n == budget.images or len(setting.manifests) == 1
    )
    fakes = sum(s.label for s in dev)
    where = torch.cuda.get_device_name() if _is_cuda(setting.device) else platform.machine()
    return [
        setting.called,
        f"trained on {images}, {budget.epochs} epochs, {budget.draws} draws of each, batches of "
        f"{budget.batch_size}, seeds {', '.join(map(str, setting.seeds))}; "
        f"backbone {setting.backbone.info.name}",
        f"judged on {fakes} fakes of {len({s.source for s in dev if s.label})} sources and "
        f"{len(dev) - fakes} reals of `{DEV}`, means over sources of fakes",
        f"seconds: median over seeds of the head's fit and all steps, frozen blocks stored; "
        f"{where}, {torch.get_num_threads()} threads",
    ]


def _is_cuda(device: str) -> bool:
    return device == "cuda" or (device == "auto" and torch.cuda.is_available())


def print_plan(tables: Sequence[Table], seeds: Sequence[int]) -> None:
    """All runs, and which cache each reads."""
    for table in tables:
        print(f"{table.name}, compared with {table.reference}")
        for row in table.rows:
            blocks = row.recipe.model.mole.blocks or ()
            first = f"before block {blocks[0]}" if blocks else "whole tower"
            cache = first if row.recipe.is_cached else "none"
            print(f"  {row.name:12} {row.recipe.name:50} trunk cache: {cache}")
    print(f"{len(recipes(tables))} detectors, {len(recipes(tables)) * len(seeds)} runs")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options."""
    parser = argparse.ArgumentParser(
        prog="scripts/ablate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with a manifest that has splits")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and tables")
    parser.add_argument("--backbone", default="ViT-B-16-quickgelu")
    parser.add_argument("--backbone-weights", type=Path, help="a safetensors file")
    parser.add_argument("--head", choices=("final", "levels"), default="final",
                        help="final: the paper's; levels: blocks 4, 6 and 8, depth 8")  # fmt: skip
    parser.add_argument("--budget", choices=tuple(BUDGETS), default="small")
    parser.add_argument("--only", nargs="+", metavar="TABLE", help="these tables")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="these rows and the references")
    parser.add_argument("--over", metavar="ROW", help="compare with this row of a table")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--images", type=int, help="training images instead of the budget's")
    parser.add_argument("--epochs", type=int, help="instead of the budget's")
    parser.add_argument("--dev-cap", type=int, default=0, metavar="N",
                        help="judge on at most N images of a source and label; 0: all")  # fmt: skip
    parser.add_argument("--pairing", type=Path, default=PAIRING)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--plan", action="store_true", help="list the runs and stop")
    parser.add_argument("--report", action="store_true", help="write the tables and stop")
    return parser.parse_args(arguments)


def chosen_budget(args: argparse.Namespace) -> Budget:
    """The budget with what the options change."""
    budget = BUDGETS[args.budget]
    images = budget.images if args.images is None else args.images
    sizes = (*(n for n in budget.sizes if images == ALL or 0 < n < images), images)
    return replace(
        budget,
        images=images,
        sizes=tuple(dict.fromkeys(sizes)),
        epochs=args.epochs or budget.epochs,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, run and write."""
    args = parsed(arguments)
    args.out = args.out.resolve()  # a run's settings name it
    budget = chosen_budget(args)
    config = BackboneConfig(name=args.backbone, weights=args.backbone_weights)
    try:
        backbone = load_backbone(config)
        tables = plan(args.head, backbone.tower.config.blocks, budget)
        if args.over:
            tables = compared_with(tables, args.over)
        tables = narrowed(tables, args.only, args.rows)
        if args.plan:
            print_plan(tables, args.seeds)
            return 0
        if _is_cuda(args.device):
            backbone.tower.to("cuda")
        setting = prepared(args, budget, tables, backbone, config)
        if not args.report:
            train_all(setting, tables)
        print(report(setting, tables))
    except FakescanError as e:
        print(f"ablate: {e}", file=sys.stderr)
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
