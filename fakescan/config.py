"""Frozen dataclasses <-> plain dictionaries <-> TOML; unknown keys and wrong types refused."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fakescan.errors import ConfigError

T = TypeVar("T")


def load(cls: type[T], path: Path) -> T:
    """Read one settings file into a dataclass.

    Raises:
        ConfigError: no such file, not TOML, an unknown setting, a wrong type or range.
    """
    try:
        with path.open("rb") as stream:
            values = tomllib.load(stream)
    except FileNotFoundError as e:
        raise ConfigError(f"{path}: no such file") from e
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise ConfigError(f"{path}: not readable as TOML ({e})") from e
    return from_dict(cls, values, str(path))


def from_dict(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build a dataclass from plain values; nested tables build nested dataclasses.

    Args:
        cls: a dataclass.
        values: as `to_dict` gives them, or as read from TOML or JSON.
        where: opens every message, such as the file's name.
    """
    hints = get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(typing.cast(Any, cls)) if f.init]
    unknown = [key for key in values if key not in names]
    if unknown:
        raise ConfigError(f"{where}: unknown setting {unknown[0]!r}; known: {', '.join(names)}")
    built = {key: build(hints[key], value, f"{where}: {key}") for key, value in values.items()}
    try:
        return cls(**built)
    except ConfigError as e:
        raise ConfigError(f"{where}: {e}") from e
    except TypeError as e:  # a setting without a default is missing
        raise ConfigError(f"{where}: {str(e).split('() ')[-1]}") from e


def to_dict(settings: Any) -> dict[str, Any]:
    """Plain values of a dataclass: str, int, float, bool, list, dict; unset (None) left out."""
    return {
        f.name: _plain(getattr(settings, f.name))
        for f in dataclasses.fields(settings)
        if getattr(settings, f.name) is not None
    }


def dump(settings: Any) -> str:
    """TOML text that `load` reads back to an equal dataclass."""
    return _table(to_dict(settings), ())


def literal(value: Any) -> str:
    """A plain value that is no table, as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(literal(v) for v in value)}]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def build(hint: Any, value: Any, where: str) -> Any:
    """Build one value from its plain form.

    Args:
        hint: its type.
        value: as read from TOML or JSON.
        where: opens every message, such as the file's name and the setting's.

    Raises:
        ConfigError: it has another type, or is none of the choices.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _build_union(args, value, where)
    if origin is Literal:
        if value in args:
            return value
        raise ConfigError(f"{where}: {value!r}; known: {', '.join(map(str, args))}")
    if origin in (tuple, list):
        items = _build_items(args if origin is tuple else (*args, ...), value, where)
        return items if origin is tuple else list(items)
    if origin in (dict, Mapping):
        _expect(isinstance(value, Mapping), "table", value, where)
        return dict(value)
    if dataclasses.is_dataclass(hint):
        _expect(isinstance(value, Mapping), "table", value, where)
        return from_dict(typing.cast(type[Any], hint), value, where)
    return value if hint is Any else _build_scalar(hint, value, where)


def _table(values: Mapping[str, Any], path: tuple[str, ...]) -> str:
    plain = {k: v for k, v in values.items() if not isinstance(v, dict)}
    nested = {k: v for k, v in values.items() if isinstance(v, dict)}
    lines = [f"{_key(k)} = {literal(v)}\n" for k, v in plain.items()]
    if path and (plain or not nested):
        lines.insert(0, f"\n[{'.'.join(_key(p) for p in path)}]\n")
    return "".join(lines) + "".join(_table(v, (*path, k)) for k, v in nested.items())


def _key(name: str) -> str:
    is_bare = name and all(c.isascii() and (c.isalnum() or c in "-_") for c in name)
    return name if is_bare else literal(name)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _build_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    reasons = []
    for arg in args:
        if arg is type(None):
            continue
        try:
            return build(arg, value, where)
        except ConfigError as e:
            reasons.append(e)
    raise reasons[0]


def _build_items(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    _expect(isinstance(value, (list, tuple)), "list", value, where)
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(build(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if len(value) != len(args):
        raise ConfigError(f"{where}: expected {len(args)} values, got {len(value)}")
    return tuple(
        build(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True))
    )


def _build_scalar(hint: Any, value: Any, where: str) -> Any:
    if issubclass(hint, StrEnum):
        if value in tuple(hint):
            return hint(value)
        raise ConfigError(f"{where}: {value!r}; known: {', '.join(hint)}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    is_right = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    _expect(is_right, hint.__name__, value, where)
    return value


def _expect(is_right: bool, expected: str, value: Any, where: str) -> None:
    if not is_right:
        raise ConfigError(f"{where}: expected {expected}, got {type(value).__name__}")
