"""Recipes that generators leave in their images: parameters, and graphs of nodes.

A text counts when it has the recipe's structure; that words of it occur says nothing.
"""

from __future__ import annotations

import json
import re
from typing import Any

from fakescan.provenance.signal import MAX_PROMPT, Kind, Signal, line

MAX_CHARACTERS = 4_000_000
"""Longer texts are not read."""
STEPS = re.compile(r"^Steps: \d{1,5}, .*$", re.MULTILINE)
PAIR = re.compile(r"(?:^|, )(?P<key>[A-Z][\w ]{0,30}): (?P<value>[^,]*)")
CONFIRMING = frozenset(("Sampler", "CFG scale", "Seed"))
"""At least one of them stands beside `Steps` in every recipe."""
NEGATIVE = "\nNegative prompt: "


def parameters(text: str, place: str, *, is_full: bool) -> list[Signal]:
    """Signals of a recipe as Stable Diffusion's web interfaces write it.

    Its last line is `Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, ...`; the prompt stands
    above.
    """
    if len(text) > MAX_CHARACTERS or not (steps := _last_steps(text)):
        return []
    pairs = {found["key"]: found["value"].strip() for found in PAIR.finditer(steps[0])}
    if not CONFIRMING & pairs.keys():
        return []
    model = f", model {line(pairs['Model'], 80)}" if pairs.get("Model") else ""
    signals = [Signal(place, f"Stable Diffusion parameters{model}", Kind.GENERATED)]
    if is_full and (prompt := line(text[: steps.start()].split(NEGATIVE)[0], MAX_PROMPT)):
        signals.append(Signal("prompt", prompt))
    return signals


def nodes(text: str, place: str, *, is_full: bool) -> list[Signal]:
    """Signals of a graph as ComfyUI runs it: nodes by number, each with its class and inputs."""
    graph = _json(text)
    if not (isinstance(graph, dict) and graph and all(map(_is_node, graph.values()))):
        return []
    signals = [_graph([node["class_type"] for node in graph.values()], place)]
    if is_full:
        prompts = [_text_of(node) for node in graph.values()]
        signals += [Signal("prompt", prompt) for prompt in prompts if prompt]
    return signals


def workflow(text: str, place: str) -> list[Signal]:
    """Signals of a graph as ComfyUI shows it: a list of nodes, each with its type, and links."""
    graph = _json(text)
    found = graph.get("nodes") if isinstance(graph, dict) and "links" in graph else None
    if not (isinstance(found, list) and found):
        return []
    types = [node.get("type") if isinstance(node, dict) else None for node in found]
    return [_graph([t for t in types if isinstance(t, str)], place)] if None not in types else []


def _last_steps(text: str) -> re.Match[str] | None:
    return max(STEPS.finditer(text), key=lambda found: found.start(), default=None)


def _graph(types: list[str], place: str) -> Signal:
    """A graph that samples from a model makes images; others may only scale or convert one."""
    is_sampling = any("Sampler" in name for name in types)
    kind = Kind.GENERATED if is_sampling else Kind.UNDECIDED
    what = "" if is_sampling else " that samples from no model"
    return Signal(place, f"ComfyUI graph of {len(types)} nodes{what}", kind)


def _is_node(node: Any) -> bool:
    is_table = isinstance(node, dict) and isinstance(node.get("inputs"), dict)
    return is_table and isinstance(node.get("class_type"), str)


def _text_of(node: dict[str, Any]) -> str:
    text = node["inputs"].get("text")
    is_prompt = node["class_type"].startswith("CLIPTextEncode") and isinstance(text, str)
    return line(text, MAX_PROMPT) if is_prompt else ""


def _json(text: str) -> Any:
    if len(text) > MAX_CHARACTERS:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
