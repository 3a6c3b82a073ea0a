"""A file's tensors -> its modules: which layer each changes, and by which factors.

Shapes are checked here, from the header alone; values are looked at where they are read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from fakescan.errors import LoraError, LoraUnsupported
from fakescan.loras.canonical import Group, canonical_name, group_of
from fakescan.loras.config import AdapterConfig
from fakescan.loras.header import Header, Slot
from fakescan.loras.suffixes import Kind, is_ignored, part_of, unsupported_type

MAX_RANK = 1024
NEEDED = {
    Kind.LORA: ("up", "down"),
    Kind.LOHA: ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
}


@dataclass(frozen=True, slots=True)
class Module:
    """One layer's change, not yet read."""

    name: str
    """Canonical."""
    path: str
    """As the file has it."""
    kind: Kind
    group: Group
    tensors: Mapping[str, str]
    """Names of the file's tensors, by role."""
    rank: int
    """Of the factors as they are stored."""
    is_dora: bool = False
    """There is a magnitude, too, which means nothing without the base model's weights."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What a file holds, by its header."""

    modules: tuple[Module, ...]
    """By canonical name."""
    dialect: str
    config: AdapterConfig
    ignored: int = 0
    """Tensors that are not compared: biases, whole weights, embeddings."""
    warnings: tuple[str, ...] = field(default=())


def read_adapter(header: Header, config: AdapterConfig) -> Adapter:
    """Sort a file's tensors into modules.

    Raises:
        LoraUnsupported: naming the type of adapter.
        LoraError: no LoRA, a factor without its partner, shapes that do not fit, or two modules
            of one name.
    """
    parts, dialects, ignored, unknown = _sort(header)
    modules = [_module(path, tensors, header) for path, tensors in parts.items()]
    if not modules:
        raise LoraError("holds no LoRA" + (f"; first tensor: {unknown[0]!r}" if unknown else ""))
    by_name: dict[str, Module] = {}
    for module in modules:
        if other := by_name.get(module.name):
            raise LoraError(f"{other.path!r} and {module.path!r} are the same module")
        by_name[module.name] = module
    warnings = (f"{len(unknown)} unknown tensors, such as {unknown[0]!r}",) if unknown else ()
    ordered = tuple(by_name[name] for name in sorted(by_name))
    return Adapter(ordered, _dialect(dialects, header), config, ignored, warnings)


def _sort(
    header: Header,
) -> tuple[dict[str, dict[str, tuple[str, Kind | None]]], Counter[str], int, list[str]]:
    """Tensors by module and role; how often each dialect is met; the ignored; the unknown."""
    parts: dict[str, dict[str, tuple[str, Kind | None]]] = {}
    dialects: Counter[str] = Counter()
    ignored, unknown = 0, []
    for name in header.tensors:
        if kind := unsupported_type(name):
            raise LoraUnsupported(f"unsupported adapter type {kind} ({name!r})")
        if is_ignored(name):
            ignored += 1
        elif part := part_of(name):
            roles = parts.setdefault(part.module, {})
            if part.role in roles:
                raise LoraError(f"{roles[part.role][0]!r} and {name!r} are the same factor")
            roles[part.role] = (name, part.kind)
            if part.dialect:
                dialects[part.dialect] += 1
        else:
            unknown.append(name)
    has_factors = {path for path, roles in parts.items() if any(kind for _, kind in roles.values())}
    lonely = [
        name
        for path, roles in parts.items()
        if path not in has_factors
        for name, _ in roles.values()
    ]
    return (
        {path: parts[path] for path in parts if path in has_factors},
        dialects,
        ignored,
        unknown + lonely,
    )


def _module(path: str, roles: Mapping[str, tuple[str, Kind | None]], header: Header) -> Module:
    kinds = {kind for _, kind in roles.values() if kind}
    if len(kinds) > 1:
        raise LoraError(f"{path!r} has factors of {' and '.join(sorted(kinds))}")
    kind = kinds.pop()
    tensors = {role: name for role, (name, _) in roles.items()}
    slots = {role: header.tensors[name] for role, name in tensors.items()}
    check = {Kind.LORA: _check_lora, Kind.LOHA: _check_loha, Kind.LOKR: _check_lokr}[kind]
    rank, is_convolution = check(path, slots)
    if rank > MAX_RANK:
        raise LoraError(f"{path!r} has rank {rank}; at most {MAX_RANK} is read")
    name = canonical_name(path)
    group = group_of(name, is_convolution=is_convolution)
    return Module(name, path, kind, group, tensors, rank, "dora" in tensors)


def _check_lora(path: str, slots: Mapping[str, Slot]) -> tuple[int, bool]:
    """Rank, and whether it is a convolution with a real kernel."""
    _check_present(path, slots, NEEDED[Kind.LORA])
    down, up = slots["down"].shape, slots["up"].shape
    if len(down) < 2 or len(up) < 2 or math.prod(up[2:]) != 1:
        raise LoraError(f"{path!r}: no factors of a matrix: {list(up)} and {list(down)}")
    rank = down[0]
    if "mid" in slots:
        mid = slots["mid"].shape
        if len(mid) < 2 or mid[:2] != (up[1], rank) or math.prod(down[2:]) != 1:
            raise LoraError(f"{path!r}: {list(up)}, {list(mid)} and {list(down)} do not fit")
        return max(mid[:2]), math.prod(mid[2:]) > 1
    if up[1] != rank:
        raise LoraError(f"{path!r}: {list(up)} and {list(down)} differ in rank")
    return rank, math.prod(down[2:]) > 1


def _check_loha(path: str, slots: Mapping[str, Slot]) -> tuple[int, bool]:
    _check_present(path, slots, NEEDED[Kind.LOHA])
    shapes = {role: slot.shape for role, slot in slots.items()}
    ranks, is_convolution = [], False
    for pair in ("1", "2"):
        a, b = shapes[f"hada_w{pair}_a"], shapes[f"hada_w{pair}_b"]
        core = shapes.get(f"hada_t{pair}")
        if len(a) != 2 or len(b) != 2:
            raise LoraError(f"{path!r}: factors of LoHa must be matrices")
        if core is None:
            fits, rank = a[1] == b[0], a[1]
        else:
            fits, rank = len(core) >= 2 and core[:2] == (a[0], b[0]), a[0]
            is_convolution = math.prod(core[2:]) > 1
        if not fits:
            raise LoraError(f"{path!r}: {list(a)} and {list(b)} do not fit")
        ranks.append(rank)
    if len({_loha_shape(shapes, pair) for pair in "12"}) != 1:
        raise LoraError(f"{path!r}: its two products differ in shape")
    return ranks[0] * ranks[1], is_convolution


def _loha_shape(shapes: Mapping[str, tuple[int, ...]], pair: str) -> tuple[int, ...]:
    """Rows and columns of one of the two products."""
    a, b = shapes[f"hada_w{pair}_a"], shapes[f"hada_w{pair}_b"]
    core = shapes.get(f"hada_t{pair}")
    return (a[0], b[1]) if core is None else (a[1], b[1], *core[2:])


def _check_lokr(path: str, slots: Mapping[str, Slot]) -> tuple[int, bool]:
    ranks, is_convolution = [], False
    for pair in ("1", "2"):
        whole = slots.get(f"lokr_w{pair}")
        if whole is None:
            _check_present(path, slots, (f"lokr_w{pair}_a", f"lokr_w{pair}_b"))
            a, b = slots[f"lokr_w{pair}_a"].shape, slots[f"lokr_w{pair}_b"].shape
            core = slots["lokr_t2"].shape if pair == "2" and "lokr_t2" in slots else None
            fits = (a[1:] == b[:1]) if core is None else core[:2] == (a[0], b[0])
            if len(a) != 2 or len(b) < 2 or not fits:
                raise LoraError(f"{path!r}: {list(a)} and {list(b)} do not fit")
            kernel = core[2:] if core else b[2:]
            ranks.append(a[0] if core else a[1])
        else:
            if len(whole.shape) < 2:
                raise LoraError(f"{path!r}: factors of LoKr must be matrices")
            kernel = whole.shape[2:]
            ranks.append(min(whole.shape[0], math.prod(whole.shape[1:])))
        if pair == "1" and kernel:
            raise LoraError(f"{path!r}: the first factor of LoKr must be a matrix")
        is_convolution = math.prod(kernel) > 1
    return min(ranks[0] * ranks[1], MAX_RANK), is_convolution


def _check_present(path: str, slots: Mapping[str, Slot], roles: tuple[str, ...]) -> None:
    if missing := [role for role in roles if role not in slots]:
        raise LoraError(f"{path!r} lacks its factor {missing[0]!r}")


def _dialect(dialects: Counter[str], header: Header) -> str:
    """The commonest, with the prefixes that tell PEFT from those who took over its names."""
    ((dialect, _),) = dialects.most_common(1)
    if dialect != "PEFT":
        return dialect
    first = next(iter(header.tensors))
    if first.startswith("base_model."):
        return "PEFT"
    if first.startswith("diffusion_model."):
        return "ComfyUI"
    if first.startswith(("unet.", "transformer.", "text_encoder")):
        return "diffusers"
    return "PEFT"
