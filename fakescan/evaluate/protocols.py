"""The MoLE paper's test sets as their publishers lay them out, and the paper's protocol on them.

    univfd     datasets/test/<name>/[<class>/]{0_real,1_fake}         tables 1 and 2
               diffusion_datasets/{imagenet,laion}/0_real, diffusion_datasets/<name>/1_fake
    genimage   <generator>/[imagenet_.../]val/{ai,nature}             table 3
               any folder called after DALL-E 2

Columns are found by folder names at any depth that training reads, whatever lies above them, in
large or small letters. Of each, as many reals as fakes are taken, at most `PER_LABEL` of either; a
hash chooses, so that everybody takes the same. Images are cut in the middle without being scaled,
small ones padded: geometry `pad`.

Differs from the paper: the detector's own threshold, fixed in advance, stands for one that was
tuned on ProGAN's validation images. The paper does not say which reals DALL-E 2 met.

Source: the READMEs of UniversalFakeDetect, GenImage and DiffusionForensics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from fakescan.data.layouts import LEAVES, bare_name, walk_labelled
from fakescan.data.samples import Sample, rank, require_root, sample_at
from fakescan.errors import DatasetError
from fakescan.evaluate.dalle2 import DALLE2, dalle2_images
from fakescan.evaluate.pairing import Comparison
from fakescan.image import Preprocess

PER_LABEL = 1000
"""Fakes of a column, and reals, at most: UnivFD released as many; its paper used ten times more."""
HELD_OUT = frozenset(("val", "valid", "validation"))


@dataclass(frozen=True, slots=True)
class Column:
    """One generator of a table."""

    name: str
    """As the table's column is called."""
    family: str
    folders: tuple[str, ...]
    """Bare names of the folders that it may be in."""
    reals: str = ""
    """Bare name of the folder whose reals it meets; empty for its own."""


def _univfd_columns() -> tuple[Column, ...]:
    gans = ("ProGAN", "CycleGAN", "BigGAN", "StyleGAN", "GauGAN", "StarGAN")
    own = (
        *((name, "GAN", (name.lower(),)) for name in gans),
        ("Deepfakes", "deepfake", ("deepfake", "deepfakes")),
        ("SITD", "low-level vision", ("seeingdark", "sitd")),
        ("SAN", "low-level vision", ("san",)),
        ("CRN", "perceptual loss", ("crn",)),
        ("IMLE", "perceptual loss", ("imle",)),
    )
    laion = ("LDM_200", "LDM_200_cfg", "LDM_100", "GLIDE_100_27", "GLIDE_50_27", "GLIDE_100_10")
    return (
        *(Column(*values) for values in own),
        Column("Guided", "diffusion", ("guided",), "imagenet"),
        *(Column(name, "diffusion", (bare_name(name),), "laion") for name in laion),
        Column("DALLE", "autoregressive", ("dalle",), "laion"),
    )


GENIMAGE = (
    Column("BigGAN", "GAN", ("biggan",)),
    Column("ADM", "diffusion", ("adm",)),
    Column("GLIDE", "diffusion", ("glide",)),
    Column("Midjourney", "diffusion", ("midjourney",)),
    Column("SD_v1.4", "diffusion", ("stablediffusionv14", "sdv14", "sdv4")),
    Column("SD_v1.5", "diffusion", ("stablediffusionv15", "sdv15", "sdv5")),
    Column("VQDM", "diffusion", ("vqdm",)),
    Column("Wukong", "diffusion", ("wukong",)),
    Column(DALLE2, "diffusion", ("dalle2",)),
)


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is measured on a public test set, and where the paper printed it."""

    name: str
    columns: tuple[Column, ...]
    tables: Mapping[str, str]
    """Figure, as `fakescan.evaluate.benchmark.Figures` calls it -> table of the paper."""
    layout: str
    """What folders are looked for, for a message."""


PROTOCOLS = {
    "univfd": Protocol(
        "univfd",
        _univfd_columns(),
        {"ap": "table1_univfd_ap", "acc": "table2_univfd_acc"},
        "datasets/test/progan/.../{0_real,1_fake} or diffusion_datasets/guided/1_fake",
    ),
    "genimage": Protocol(
        "genimage",
        GENIMAGE,
        {"acc": "table3_genimage_acc"},
        "BigGAN/imagenet_ai_0419_biggan/val/{ai,nature}",
    ),
}
"""By the name that the command line takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """What of a protocol's test set is there, and what meets what."""

    protocol: Protocol
    comparisons: tuple[Comparison, ...]
    """One for each column that is there, in the table's order, with as many reals as fakes."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Column -> why it cannot be measured."""
    per_label: int = PER_LABEL
    """Fakes of a column, and reals, that are taken at most."""
    note: str = ""
    """Which images were taken where the paper does not say which."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Every image that is needed, once, by key."""
        met = {s.key: s for c in self.comparisons for s in (*c.fakes, *c.reals)}
        return tuple(met[key] for key in sorted(met))


def setup(root: Path, name: str, *, per_label: int = PER_LABEL, seed: int = 0) -> Setup:
    """Find a protocol's images below a folder.

    Args:
        root: the folder that holds the test set, or any above it.
        name: of `PROTOCOLS`.
        per_label: fakes of a column, and reals, at most.
        seed: decides which.

    Raises:
        DatasetError: no such folder, or none of the protocol's generators in it.
    """
    require_root(root)
    if root.is_file():
        raise DatasetError(f"{root}: a protocol needs the folder of a test set, not a file")
    protocol = PROTOCOLS[name]
    found, note = _READERS[name](root)
    comparisons, missing = [], {}
    for column in protocol.columns:
        fakes, reals = found[column.name]
        if not fakes or not reals:
            missing[column.name] = _why(column, fakes, reals)
            continue
        count = min(per_label, len(fakes), len(reals))
        comparisons.append(
            Comparison(
                name=column.name,
                family=column.family,
                fakes=_chosen(fakes, root, seed, count),
                reals=_chosen(reals, root, seed, count),
            )
        )
    if not comparisons:
        raise DatasetError(
            f"{root}: no generator of {name} with fakes and reals; expected folders such as "
            f"{protocol.layout}"
        )
    return Setup(
        protocol=protocol,
        comparisons=tuple(comparisons),
        missing=missing,
        per_label=per_label,
        note=note,
    )


def paper_view(own: Preprocess) -> Preprocess:
    """A detector's preprocessing with the paper's geometry: the middle, never scaled, padded."""
    return replace(own, geometry="pad")


Found = dict[str, tuple[list[Sample], list[Sample]]]
"""Column -> all its fakes, and all reals that it may meet."""


def _read_univfd(root: Path) -> tuple[Found, str]:
    """Test images by their nearest known folder; those below a training folder are left out."""
    columns = PROTOCOLS["univfd"].columns
    known = {bare: c.name for c in columns for bare in c.folders}
    known |= {c.reals: c.reals for c in columns if c.reals}
    found: dict[str, tuple[list[Sample], list[Sample]]] = {
        name: ([], []) for name in known.values()
    }
    for sample, name in _named(root, ("0_real", "1_fake"), partial(_test_folder, known)):
        found[name][1 - sample.label].append(sample)
    return {c.name: (found[c.name][0], found[c.reals or c.name][1]) for c in columns}, ""


def _test_folder(known: Mapping[str, str], parts: Sequence[str]) -> str:
    """The known folder nearest to the images, unless it lies below a training folder."""
    for i in range(len(parts) - 1, -1, -1):
        if name := known.get(bare_name(parts[i]), ""):
            above = {part.lower() for part in parts[:i]}
            return "" if above & {"train", *HELD_OUT} else name
    return ""


def _read_genimage(root: Path) -> tuple[Found, str]:
    """Validation images by generator, and DALL-E 2 wherever it is."""
    known = {bare: c.name for c in GENIMAGE for bare in c.folders if c.name != DALLE2}
    found: Found = {c.name: ([], []) for c in GENIMAGE}
    for sample, name in _named(root, ("nature", "ai"), partial(_val_folder, known)):
        found[name][1 - sample.label].append(sample)
    nature = [s for _, reals in found.values() for s in reals]
    fakes, reals, note = dalle2_images(root, nature)
    found[DALLE2] = (fakes, reals)
    return found, note


def _val_folder(known: Mapping[str, str], parts: Sequence[str]) -> str:
    """The known folder nearest to the images, if they are validation images."""
    lower = {part.lower() for part in parts}
    if "train" in lower or not lower & HELD_OUT:
        return ""
    names = (known.get(bare_name(part), "") for part in reversed(parts))
    return next(filter(None, names), "")


def _named(
    root: Path, leaves: Sequence[str], name_of: Callable[[Sequence[str]], str]
) -> Iterator[tuple[Sample, str]]:
    """Images below such leaves, with the name that their folders give them, where they do.

    Training images, which are millions, are walked past and not kept.
    """
    top = root.resolve().name
    names: dict[Path, str] = {}
    for path, leaf in walk_labelled(root):
        if path.parent not in names:
            parts = (top, *path.parent.relative_to(root).parts)
            end = _leaf_place(parts)
            is_so = end < len(parts) and parts[end].lower() in leaves
            names[path.parent] = name_of(parts[:end]) if is_so else ""
        if name := names[path.parent]:
            yield sample_at(path, leaf, root), name


def _leaf_place(parts: Sequence[str]) -> int:
    """Place of the folder that names the label; behind the last where none does."""
    return max((i for i, part in enumerate(parts) if part.lower() in LEAVES), default=len(parts))


def _chosen(part: Sequence[Sample], root: Path, seed: int, count: int) -> tuple[Sample, ...]:
    """So many of these, by a hash of what does not depend on where the test set lies."""
    top = root.resolve().name.lower()

    def name(sample: Sample) -> str:
        parts = (top, *sample.key.lower().split("/"))
        return "/".join(parts[max(_leaf_place(parts[:-1]) - 1, 0) :])

    return tuple(sorted(part, key=lambda s: (rank(name(s), seed), s.key))[:count])


def _why(column: Column, fakes: Sequence[Sample], reals: Sequence[Sample]) -> str:
    if not fakes:
        return "no fakes" if reals and not column.reals else "not there"
    return f"no reals: there is no {column.reals}/0_real" if column.reals else "no reals"


_READERS = {"univfd": _read_univfd, "genimage": _read_genimage}
