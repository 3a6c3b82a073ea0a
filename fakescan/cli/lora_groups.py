"""`fakescan lora cluster` and `duplicates`: the files of an index beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fakescan.cli import lora_options as shared

if TYPE_CHECKING:
    from fakescan.loras.cluster import Clusters
    from fakescan.loras.collection import Collection, Member
    from fakescan.loras.matrix import Similarities


class Method(StrEnum):
    """How groups are found."""

    KMEANS = "kmeans"
    LINKAGE = "linkage"


CLUSTER_COLUMNS = ("cluster", "similarity", "silhouette", "path")
COPY_COLUMNS = ("group", "likeness", "raw", "coverage", "strength", "rank", "dialect", "by", "path")


def cluster(
    idx: shared.Index,
    k: Annotated[
        int | None,
        typer.Option("--k", metavar="K", help="Number of groups.", show_default="best silhouette"),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="k-means on 20 main coordinates, or average linkage.")
    ] = Method.KMEANS,
    family: shared.Family = None,
    modules: shared.Modules = None,
    descriptor: shared.DescriptorOption = shared.Descriptor.GAUGE_FREE,
    compare: shared.Compare = shared.Comparison.AUTO,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write dendrogram.png, map.png, heatmap.png and map.html, with names on hover.",
        ),
    ] = None,
    format_: shared.FormatOption = shared.Format.TABLE,
    output: shared.Output = None,
) -> None:
    """Put the files of an index into groups that are alike.

    A file's similarity is its mean similarity to the others of its group; its silhouette says
    how much closer it is to them than to the next group. Needs the extra lora.
    """
    from fakescan.loras.collection import Collection, one_family
    from fakescan.loras.table import Table

    shared.check_outputs(output)
    collection = Collection(idx)
    everything = collection.members()
    chosen = one_family(everything, family)
    members = [m for m in everything if m.family == chosen]
    with shared.extra("cluster"):
        from fakescan.loras.cluster import cluster as divide

        found = compared(collection, members, modules, descriptor, compare)
        groups = divide(found.centred, k, method=method.value)
        if pictures is not None and members:
            _draw(members, found, groups, pictures)
    rows = sorted(_cluster_rows(members, groups), key=lambda r: (r["cluster"], -r["similarity"]))
    facts = {"base": chosen, "clusters": len({r["cluster"] for r in rows})} | facts_of(found)
    shared.write(Table("cluster", CLUSTER_COLUMNS, rows, facts), format_, output)


def compared(
    collection: Collection,
    members: Sequence[Member],
    modules: list[str] | None,
    descriptor: shared.Descriptor,
    compare: shared.Comparison,
) -> Similarities:
    """All pairs, by the descriptor and the way that the options say.

    Raises:
        ConfigError: options that contradict each other.
        LoraError: a file that is needed is gone.
    """
    from fakescan.errors import ConfigError
    from fakescan.loras.collection import chosen_groups
    from fakescan.loras.matrix import compare_all

    groups = chosen_groups(modules or ())
    if descriptor is shared.Descriptor.GAUGE_FREE:
        return compare_all(collection, members, groups=groups, is_exact=compare.is_exact)
    if groups is not None or compare is shared.Comparison.SKETCH:
        raise ConfigError(
            f"--descriptor {descriptor.value}: takes all modules, and no sketches; "
            "leave out --modules and --compare"
        )
    from fakescan.loras.paper import CONDITION, compare_all_as_published

    shared.note(f"warning: {CONDITION}")
    paths = [collection.place(m.entry) for m in members]
    is_z_scored = descriptor is shared.Descriptor.PAPER_Z
    return compare_all_as_published(paths, is_z_scored=is_z_scored)


def facts_of(found: Similarities) -> dict[str, Any]:
    """What holds for all rows of a comparison."""
    import numpy as np

    pairs = int(np.isnan(np.triu(found.raw, 1)).sum())
    return {"compared_by": "factors" if found.is_exact else "sketch", "pairs_not_compared": pairs}


def _cluster_rows(members: Sequence[Member], groups: Clusters) -> list[dict[str, Any]]:
    return [
        {
            "cluster": int(groups.labels[place]),
            "similarity": float(groups.to_own[place]),
            "silhouette": float(groups.silhouettes[place]),
            "path": member.path,
            "sha256": member.entry.sha256,
        }
        for place, member in enumerate(members)
    ]


def _draw(members: Sequence[Member], found: Similarities, groups: Clusters, folder: Path) -> None:
    from fakescan.errors import OutputError
    from fakescan.loras.page import page
    from fakescan.loras.pictures import draw_all, scene

    shown = scene([m.path for m in members], found.centred, groups.labels)
    try:
        written = draw_all(shown, folder)
        target = folder / "map.html"
        target.write_text(page(shown), encoding="utf-8", errors="surrogateescape")
    except OSError as e:
        raise OutputError(f"{folder}: cannot be written ({e.strerror})") from e
    shared.note("pictures: " + ", ".join(str(path) for path in [*written, target]))


def duplicates(
    idx: shared.Index,
    threshold: Annotated[
        float,
        typer.Option(min=0.5, max=1.0, help="Kernel above which two files hold the same update."),
    ] = 0.999,
    compare: shared.Compare = shared.Comparison.AUTO,
    format_: shared.FormatOption = shared.Format.TABLE,
    output: shared.Output = None,
) -> None:
    """Find copies: the same update, even rescaled, re-exported, or in another rank or dialect.

    Each group's first file is what the others are measured by: strength 2 is the same change,
    twice as strong. Copies are named, never touched.
    """
    from fakescan.loras.collection import Collection
    from fakescan.loras.duplicates import duplicates as find
    from fakescan.loras.table import Table

    shared.check_outputs(output)
    is_exact = compare is not shared.Comparison.SKETCH
    copies = find(Collection(idx), threshold=threshold, is_exact=is_exact)
    rows = []
    for copy in copies:
        summary = copy.member.sketch.summary
        low, high = summary.rank_min, summary.rank_max
        by = "-" if copy.likeness is None else "factors" if copy.is_exact else "sketch"
        rows.append(
            {
                "group": copy.group,
                "likeness": copy.likeness.value if copy.likeness else "first",
                "raw": copy.raw,
                "coverage": copy.coverage,
                "strength": copy.strength,
                "rank": str(low) if low == high else f"{low}-{high}",
                "dialect": summary.dialect,
                "by": by,
                "path": copy.member.path,
                "sha256": copy.member.entry.sha256,
            }
        )
    facts = {"threshold": threshold, "groups": len({copy.group for copy in copies})}
    shared.write(Table("duplicates", COPY_COLUMNS, rows, facts), format_, output)
    if not rows:
        shared.note(f"{idx}: no copies")
