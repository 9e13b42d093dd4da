"""What a run writes for others to read names no folder of the user's, since folders are often called after patients.

Nor does it show images with text in them, which may be a name.

Whole paths stand in `config.yaml` and `overrides.yaml`, without which a run could be neither resumed nor judged again,
and of a sweep in `sweep.json`, which has its arguments as typed and where it was begun, and in Hydra's `multirun.yaml`.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vesalius.config.compose import PATH_KEYS

#: Figures without any pixel of a patient's image.
WITHOUT_PIXELS = frozenset({"confusion_matrix", "roc", "calibration", "scatter", "history", "evidence", "latent_map"})

_ABSOLUTE = re.compile(r"~|[\\/]|\.{1,2}[\\/]|[A-Za-z]:[\\/]|file:/")
_SEPARATOR = re.compile(r"[\\/]+")
# An entry of a list or mapping on the command line: what stands between brackets, commas and quotes; its key apart.
_ENTRY = re.compile(r"(?P<key>\w{2,}: ?)?(?P<value>[^\[\]{},'\"]+)")
_QUOTED = re.compile(r"""(['"])(?:~|[A-Za-z]:)?[\\/](?:(?!\1).)+\1""")
_BARE = re.compile(r"""(?<![\w:/\\.<>-])(?:~/|/|[A-Za-z]:[\\/])[^\s'",;:()\[\]{}<>]+""")


def without_paths(config: Any, keys: Sequence[str] = ()) -> Any:
    """The config with `.../name` for whatever names a file or folder of the user's.

    Paths are the values of known keys, everything absolute, and everything with a slash in it below a key `source`,
    since anybody's source may call its paths as it likes.

    Args:
        config: plain containers.
        keys: where this part of the config stands.
    """
    if isinstance(config, Mapping):
        return {name: without_paths(value, [*keys, str(name)]) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return [without_paths(value, keys) for value in config]
    return _shortened(config, keys) if isinstance(config, str) else config


def overrides_without_paths(overrides: Sequence[str]) -> list[str]:
    """What the user typed, `key=value` each, as `without_paths` would have the values."""

    def entry(match: re.Match[str], keys: list[str]) -> str:
        value = match["value"].rstrip()
        return (match["key"] or "") + _shortened(value, [*keys, (match["key"] or "").rstrip(": ")])

    result = []
    for override in overrides:
        key, equals, value = override.partition("=")
        keys = re.split(r"[.@/]", key.lstrip("+~"))
        if value.lstrip().startswith(("[", "{")):
            value = _ENTRY.sub(lambda match, keys=keys: entry(match, keys), value)  # type: ignore[misc]
        else:
            quote = value[:1] if value[:1] in ("'", '"') else ""
            value = quote + _shortened(value.strip("'\""), keys) + quote
        result.append(key + equals + value)
    return result


def private_paths(config: Any) -> list[str]:
    """Every absolute path that a frozen config names, longest first."""
    if isinstance(config, Mapping):
        config = list(config.values())
    if isinstance(config, list | tuple):
        return sorted({path for value in config for path in private_paths(value)}, key=len, reverse=True)
    return [config] if isinstance(config, str) and len(config) > 1 and _ABSOLUTE.match(config) else []


def text_without_paths(text: str, known: Sequence[str] = ()) -> str:
    """A message or traceback with `<path>` for absolute paths; of Python files the name remains.

    Args:
        text: one or several lines.
        known: paths that may hold spaces: they are hidden together with what lies below them.
    """
    for path in known:
        text = re.sub(re.escape(path) + r"""[^'",;:\n]*""", "<path>", text)
    text = _QUOTED.sub(lambda match: match[1] + _hidden(match[0][1:-1]) + match[1], text)
    return _BARE.sub(lambda match: _hidden(match[0]), text)


def text_was_found(folder: Path) -> bool:
    """Whether a run's audit saw signs of text drawn into pixels, which may be a name, or cannot be read to say so.

    An audit names some of the samples alone, so none of them may be shown.

    Args:
        folder: of the run.
    """
    path = folder / "audit.json"
    if not path.is_file():
        return False
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return any(finding["check"] == "text_in_pixels" for finding in told.get("findings", []))
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return True


class PathlessFormatter(logging.Formatter):
    """Writes log records, their tracebacks included, as `text_without_paths` has them.

    Args:
        form: as of `logging.Formatter`.
        known: paths that may hold spaces.
    """

    def __init__(self, form: str, known: Sequence[str] = ()) -> None:
        super().__init__(form)
        self.known = list(known)

    def format(self, record: logging.LogRecord) -> str:
        """The line or lines of one record."""
        return text_without_paths(super().format(record), self.known)


def _shortened(value: str, keys: Sequence[str]) -> str:
    known = not PATH_KEYS.isdisjoint(keys[-2:])  # a list's entry stands under the key of the list
    if _ABSOLUTE.match(value) or ((known or "source" in keys) and "/" in value):
        return ".../" + _SEPARATOR.split(value.rstrip("\\/"))[-1]
    return value


def _hidden(path: str) -> str:
    name = _SEPARATOR.split(path)[-1]
    return name if name.endswith(".py") else "<path>"
