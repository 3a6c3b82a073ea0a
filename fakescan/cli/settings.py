"""What `fakescan scan` does when an option is not given: the environment, a file, the default.

Every option that says how to scan is a setting of the same name, in `fakescan.toml`, in the table
`[tool.fakescan]` of `pyproject.toml`, and as the variable `FAKESCAN_...`. What one run reads and
writes is said on its command line only, so that no file that is found lying about can choose it.
"""

from __future__ import annotations

import inspect
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from fakescan.config import build
from fakescan.errors import ConfigError

FILE = "fakescan.toml"
PROJECT_FILE = "pyproject.toml"
PREFIX = "FAKESCAN_"
CONFIG_VARIABLE = "FAKESCAN_CONFIG"
"""Names a settings file, as `--config` does."""
OTHER_VARIABLES = frozenset((CONFIG_VARIABLE, "FAKESCAN_CACHE_DIR"))
COMMAND_LINE_ONLY = frozenset(
    (
        *("paths", "from_file", "null", "output", "copy_flagged", "move_flagged", "dry_run"),
        *("explain", "shard", "config", "no_config"),
    )
)
FILES = ("model", "baseline")
"""Settings that name files; in a settings file, from the folder of that file."""
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a scan that is a setting too."""

    parameter: str
    """Of the command's function."""
    type: Any
    """What it takes, without None."""
    default: Any
    """None where the program chooses."""

    @property
    def name(self) -> str:
        """As on the command line, without the dashes in front."""
        return self.parameter.removesuffix("_").replace("_", "-")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.replace("-", "_").upper()


@dataclass(frozen=True, slots=True)
class Setting:
    """An option that a file or the environment gives."""

    option: Option
    value: Any
    origin: str


def options_of(command: Callable[..., Any]) -> dict[str, Option]:
    """The options of a command that are settings, by name."""
    hints = get_type_hints(command)
    found = [
        Option(p.name, _without_none(hints[p.name]), p.default)
        for p in inspect.signature(command).parameters.values()
        if p.name not in COMMAND_LINE_ONLY
    ]
    return {option.name: option for option in found}


def given(options: Mapping[str, Option], file: Path | None) -> dict[str, Setting]:
    """Settings that a file or the environment gives, by name; the environment comes first.

    Args:
        options: that may be given.
        file: to be read instead of the one that is found.

    Raises:
        ConfigError: a setting is unknown, or has a wrong type or value.
    """
    if file is None and (named := os.environ.get(CONFIG_VARIABLE)):
        file = Path(named)
    settings = list(_from_file(file or find_file(Path.cwd()), options))
    settings += _from_environment(os.environ, options)
    return {setting.option.name: setting for setting in settings}


def find_file(folder: Path) -> Path | None:
    """The settings file that holds in a folder: the nearest one, upwards."""
    for place in (folder, *folder.parents):
        if (file := place / FILE).is_file():
            return file
        if (file := place / PROJECT_FILE).is_file() and _project_table(file) is not None:
            return file
    return None


def unknown_variables(options: Mapping[str, Option]) -> list[str]:
    """Variables that look like settings and are none."""
    known = {option.variable for option in options.values()} | OTHER_VARIABLES
    return sorted(n for n in os.environ if n.startswith(PREFIX) and n not in known)


def _without_none(hint: Any) -> Any:
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    return kinds[0] if NoneType in get_args(hint) else hint


def _project_table(file: Path) -> Any:
    tools = _toml(file).get("tool")
    return tools.get("fakescan") if isinstance(tools, dict) else None


def _toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError as e:
        raise ConfigError(f"{file}: no such file") from e
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise ConfigError(f"{file}: not readable as TOML ({e})") from e


def _from_file(file: Path | None, options: Mapping[str, Option]) -> Iterator[Setting]:
    if file is None:
        return
    is_project = file.name == PROJECT_FILE
    where = f"{file}: [tool.fakescan]" if is_project else str(file)
    values = _project_table(file) if is_project else _toml(file)
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: no such table")
    for key, value in values.items():
        option = options.get(key.replace("_", "-"))
        if option is None:
            raise ConfigError(f"{where}: unknown setting {key!r}; known: {', '.join(options)}")
        built = build(option.type, value, f"{where}: {key}")
        yield Setting(option, _beside(option.name, built, file.parent), str(file))


def _from_environment(
    environment: Mapping[str, str], options: Mapping[str, Option]
) -> Iterator[Setting]:
    for option in options.values():
        if text := environment.get(option.variable):  # empty is unset, so that CI can pass it on
            value = build(option.type, _read(option.type, text), option.variable)
            yield Setting(option, value, option.variable)


def _read(kind: Any, text: str) -> Any:
    """A variable's text as TOML would give it; as it is when it makes no sense."""
    if get_origin(kind) is list:
        return [item for item in text.split(os.pathsep) if item]
    if kind is bool:
        return {**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}.get(text.lower(), text)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text


def _beside(name: str, value: Any, folder: Path) -> Any:
    """A file's name as seen from where the settings file lies; a detector may be a name."""
    if name not in FILES:
        return value
    path = folder / value
    return type(value)(path) if name != "model" or path.exists() else value
