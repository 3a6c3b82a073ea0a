"""`fakescan lora attribute` and `eval`: what the labels of indexed files say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fakescan.cli import lora_options as shared
from fakescan.cli.lora_groups import compared, facts_of

if TYPE_CHECKING:
    from fakescan.loras.attribute import Attribution
    from fakescan.loras.collection import Collection, Member
    from fakescan.loras.evaluate import Evaluation
    from fakescan.loras.labels import Labelled

CAVEAT = (
    "Similarity of updates is evidence of similar training targets, not proof of training on "
    "anybody's works."
)
LABEL_COLUMNS = ("label", "to_mean", "votes", "files")
FIGURE_COLUMNS = ("figure", "value", "low", "high", "chance")


def attribute(
    idx: shared.Index,
    file: shared.AskedFile,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Columns path and label, paths below the indexed folder.",
            show_default="the first folder of each path",
        ),
    ] = None,
    unknown_below: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Probability below which the answer is unknown."),
    ] = 0.5,
    modules: shared.Modules = None,
    compare: shared.Compare = shared.Comparison.AUTO,
    format_: shared.FormatOption = shared.Format.TABLE,
    output: shared.Output = None,
) -> None:
    """Say which label's files one file is most like, with a probability, or that it is unknown.

    The file itself, where it is in the index, is left out. Needs the extra lora.
    """
    from fakescan.loras.collection import Collection, chosen_groups
    from fakescan.loras.table import Table

    shared.check_outputs(output)
    collection = Collection(idx)
    with shared.extra("attribute"):
        from fakescan.loras.asking import ask

        known = _labels(labels, collection)
        found, members = ask(
            collection,
            file,
            {path: row.label for path, row in known.items()},
            groups=chosen_groups(modules or ()),
            is_exact=compare.is_exact,
            unknown_below=unknown_below,
        )
    rows = [
        {"label": c.label, "to_mean": c.to_mean, "votes": c.votes, "files": c.files}
        for c in found.candidates
    ]
    facts = _answer(found) | {"query": str(file), "labelled": len(members), "caveat": CAVEAT}
    shared.write(Table("attribute", LABEL_COLUMNS, rows, facts), format_, output)
    _tell(found, unknown_below)


def _answer(found: Attribution) -> dict[str, Any]:
    trials = found.trials
    return {
        "answer": "unknown" if found.is_unknown else found.candidates[0].label,
        "probability": found.probability,
        "trials": None
        if trials is None
        else {
            "known": trials.known,
            "named_rightly": trials.named_rightly,
            "kept": trials.kept,
            "refused": trials.refused,
        },
    }


def _tell(found: Attribution, unknown_below: float) -> None:
    first = found.candidates[0]
    if found.trials is None:
        shared.note(
            f"most like {first.label}; too few labelled files to say how likely that is right"
        )
    else:
        odds = f"{found.probability:.2f}"
        verdict = (
            f"unknown: {first.label} is nearest, and right with probability {odds} only"
            if found.is_unknown
            else f"{first.label}, right with probability {odds}"
        )
        trials = found.trials
        shared.note(
            f"{verdict} (if half of the files asked about are of no known label; "
            f"unknown below {unknown_below:g})"
        )
        shared.note(
            f"trials: of {trials.known} labelled files, each left out, {trials.kept:.0%} are named "
            f"rightly; with their label left out, {trials.refused:.0%} are called unknown"
        )
    shared.note(CAVEAT)


def evaluate(
    idx: shared.Index,
    labels: Annotated[
        Path,
        typer.Option(
            metavar="CSV",
            help="Columns path and label; content and group if wanted.",
        ),
    ],
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Other descriptors to judge beside: path, then numbers, such as the mean CLIP "
            "embedding of training images.",
        ),
    ] = None,
    family: shared.Family = None,
    modules: shared.Modules = None,
    descriptor: shared.DescriptorOption = shared.Descriptor.GAUGE_FREE,
    compare: shared.Compare = shared.Comparison.AUTO,
    format_: shared.FormatOption = shared.Format.TABLE,
    output: shared.Output = None,
) -> None:
    """Judge how well similarity brings files of one label together.

    Rank-1 and rank-5 hits, mean average precision, clusters against labels, with 95 % intervals
    and a p value. With a column content, also how often the nearest file has the same content;
    files of one group are never each other's neighbours. Needs the extra lora.
    """
    from fakescan.loras.collection import Collection, one_family
    from fakescan.loras.labels import read_labels
    from fakescan.loras.table import Table

    shared.check_outputs(output)
    collection = Collection(idx)
    known = read_labels(labels)
    members = [m for m in collection.members() if m.path in known]
    missing = len(known) - len(members)
    chosen = one_family(members, family)
    members = [m for m in members if m.family == chosen]
    with shared.extra("eval"):
        found = compared(collection, members, modules, descriptor, compare)
        rows = _figures(judge(found.centred, members, known), "weights")
        if features is not None:
            from fakescan.loras.features import read_similarity

            similarity = read_similarity(features, [m.path for m in members])
            rows += _figures(judge(similarity, members, known), "features")
    facts = {"base": chosen, "files": len(members), "labels_without_file": missing}
    columns = FIGURE_COLUMNS if features is None else ("by", *FIGURE_COLUMNS)
    shared.write(Table("eval", columns, rows, facts | facts_of(found)), format_, output)
    if missing:
        shared.note(f"{missing} labelled paths are not in the index")


def judge(similarity: Any, members: Sequence[Member], known: dict[str, Labelled]) -> Evaluation:
    """Evaluate similarities of labelled files.

    Raises:
        ConfigError: fewer than two labels, or no label with two files.
    """
    import numpy as np

    from fakescan.errors import ConfigError
    from fakescan.loras.evaluate import evaluate as evaluate_similarity

    rows = [known[m.path] for m in members]
    labels = np.unique([r.label for r in rows], return_inverse=True)[1] if rows else np.array([])
    counts = np.bincount(labels.astype(np.int64)) if len(labels) else np.array([0])
    if len(counts) < 2 or counts.max() < 2:
        raise ConfigError("eval: needs files of two labels, and two files of one of them")

    def numbers(values: list[str | None]) -> Any:
        if any(value is None for value in values):
            return None
        return np.unique(np.array(values, dtype=str), return_inverse=True)[1]

    contents, groups = numbers([r.content for r in rows]), numbers([r.group for r in rows])
    return evaluate_similarity(similarity, labels, contents=contents, groups=groups)


def _figures(found: Evaluation, by: str) -> list[dict[str, Any]]:
    from fakescan.evaluate.intervals import Estimate

    def row(name: str, value: Any, chance: float | None = None) -> Any:
        low, high = None, None
        if isinstance(value, Estimate):
            value, low, high = value.value, value.low, value.high
        names = ("by", *FIGURE_COLUMNS)
        return dict(zip(names, (by, name, value, low, high, chance), strict=True))

    rows = [
        row("R@1", found.r_at_1, found.chance),
        row("R@5", found.r_at_5),
        row("mAP", found.mean_ap),
        row("p value of R@1", found.p_value),
        row("ARI, k-means", found.ari_kmeans, 0.0),
        row("NMI, k-means", found.nmi_kmeans),
        row("purity, k-means", found.purity_kmeans),
        row("ARI, linkage", found.ari_linkage, 0.0),
        row("silhouette of labels", found.silhouette),
    ]
    if found.content_r_at_1 is not None:
        rows.append(row("R@1 for content", found.content_r_at_1, found.content_chance))
    return rows


def _labels(path: Path | None, collection: Collection) -> dict[str, Labelled]:
    from fakescan.loras.labels import labels_by_folder, read_labels

    if path is not None:
        return read_labels(path)
    return labels_by_folder([entry.path for entry in collection.contents.entries])
