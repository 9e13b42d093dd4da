"""Removes the user's folders, often named after patients, and secrets from what a run writes for others to read.

Images with text in them, which may be a name, are not shown either.

Full paths stay in `config.yaml` and `overrides.yaml`, without which a run could be neither resumed nor evaluated again.
A sweep has them in `sweep.json`, with its arguments as typed and where it was started, and in Hydra's `multirun.yaml`.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vesalius.config.addresses import is_address
from vesalius.config.path_keys import PATH_KEYS
from vesalius.config.plain import read_json

#: Figures that show no pixel of a patient's image.
WITHOUT_PIXELS = frozenset({"confusion_matrix", "roc", "calibration", "scatter", "history", "evidence", "latent_map"})

_ABSOLUTE = re.compile(r"~|[\\/]|\.{1,2}[\\/]|[A-Za-z]:[\\/]|file:/")
_SECRET_KEY = re.compile(r"(?i)(?:^|_)(?:password|passwd|secret|token|api_?key|credentials?)$")
_SECRET_VARIABLE = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$")
_SHORTEST_SECRET = 8  # anything shorter is also a word of any text
_LOGIN = re.compile(r"(?<=://)[^/\s@:'\"]*:[^/\s@'\"]+@")
_PARAMETER = re.compile(r"(?i)(?<=[?&])(\w*(?:password|passwd|secret|token|api_?key)=)[^&\s'\"]+")
_LITERAL = re.compile(r"""(?i)(\b\w*(?:password|passwd|secret|token|api_?key)\w*['"]?\s*[=:]\s*)(['"])[^'"\n]{8,}\2""")
_FILE_URL = re.compile(r"""\b(?P<kind>(?:sqlite|file)[\w+]*):/+(?:file:/*)?[^\s'"<>,;()\[\]{}]+""")
HIDDEN = "***"
_SEPARATOR = re.compile(r"[\\/]+")
# An entry of a list or mapping on the command line, between brackets, commas and quotes, and its key.
_ENTRY = re.compile(r"(?P<key>\w{2,}: ?)?(?P<value>[^\[\]{},'\"]+)")
_QUOTED = re.compile(r"""(['"])(?:~|[A-Za-z]:)?[\\/](?:(?!\1).)+\1""")
_BUCKET = re.compile(r"""\b(?:s3|gs)://[^\s'"<>,;()\[\]{}]+""")
_BARE = re.compile(r"""(?<![\w:/\\.<>-])(?:~/|/|[A-Za-z]:[\\/])[^\s'",;:()\[\]{}<>]+""")


def without_paths(config: Any, keys: Sequence[str] = ()) -> Any:
    """The config with `.../name` in place of the path of a file or folder.

    Paths are the values of known keys, everything absolute, and everything with a slash in it below a key `source`,
    since a user's own source may name its parameters in any way.

    Args:
        config: plain containers.
        keys: the keys above this part of the config.
    """
    if isinstance(config, Mapping):
        return {name: without_paths(value, [*keys, str(name)]) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return [without_paths(value, keys) for value in config]
    return _shorten(config, keys) if isinstance(config, str) else config


def overrides_without_paths(overrides: Sequence[str]) -> list[str]:
    """Overrides as typed, `key=value`, with their values shortened as by `without_paths`."""

    def entry(match: re.Match[str], keys: list[str]) -> str:
        value = match["value"].rstrip()
        return (match["key"] or "") + _shorten(value, [*keys, (match["key"] or "").rstrip(": ")])

    result = []
    for override in overrides:
        key, equals, value = override.partition("=")
        keys = re.split(r"[.@/]", key.lstrip("+~"))
        if value.lstrip().startswith(("[", "{")):
            value = _ENTRY.sub(lambda match, keys=keys: entry(match, keys), value)  # type: ignore[misc]
        else:
            quote = value[:1] if value[:1] in ("'", '"') else ""
            value = quote + _shorten(value.strip("'\""), keys) + quote
        result.append(key + equals + value)
    return result


def private_paths(config: Any) -> list[str]:
    """Every absolute path and address of data in a frozen config, longest first."""
    if isinstance(config, Mapping):
        config = list(config.values())
    if isinstance(config, list | tuple):
        return sorted({path for value in config for path in private_paths(value)}, key=len, reverse=True)
    is_private = isinstance(config, str) and len(config) > 1 and (_ABSOLUTE.match(config) or is_address(config))
    return [config] if is_private else []


def text_without_paths(text: str, known: Sequence[str] = ()) -> str:
    """A message or traceback with `<path>` in place of absolute paths and buckets; Python files keep their names.

    Args:
        text: one or several lines.
        known: paths that may contain spaces; they are hidden together with everything below them.
    """
    for path in known:
        text = re.sub(re.escape(path) + r"""[^'",;:\n]*""", "<path>", text)
    text = _FILE_URL.sub(lambda match: f"{match['kind']}:<path>", text_without_secrets(text))
    text = _BUCKET.sub("<path>", text)
    text = _QUOTED.sub(lambda match: match[1] + _hide(match[0][1:-1]) + match[1], text)
    return _BARE.sub(lambda match: _hide(match[0]), text)


def text_without_secrets(text: str) -> str:
    """A text with `***` in place of passwords and keys, and `~` for the user's home folder.

    Secrets are the values of environment variables such as `WANDB_API_KEY`, logins and passwords in addresses, and
    quoted values of names such as `password`.
    """
    for name, value in os.environ.items():
        if _SECRET_VARIABLE.search(name) and len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, HIDDEN)
    text = _LITERAL.sub(rf"\1\2{HIDDEN}\2", without_passwords(text))
    home = os.path.expanduser("~")
    return text.replace(home, "~") if len(home) > 1 and home != "~" else text


def without_passwords(address: str) -> str:
    """A text with `***` in place of logins and passwords in addresses."""
    return _PARAMETER.sub(rf"\1{HIDDEN}", _LOGIN.sub(f"{HIDDEN}@", address))


def text_was_found(folder: Path) -> bool:
    """Whether a run's audit found signs of text in pixels, which may be a name, or cannot be read.

    An audit lists only some of the samples it found, so no image of the run may be shown.

    Args:
        folder: of the run.
    """
    path = folder / "audit.json"
    if not path.is_file():
        return False
    try:
        audit = read_json(path)
        return any(finding["check"] == "text_in_pixels" for finding in audit.get("findings", []))
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return True


class PathlessFormatter(logging.Formatter):
    """Formats log records, tracebacks included, without paths; see `text_without_paths`.

    Args:
        form: as for `logging.Formatter`.
        known: paths that may contain spaces.
    """

    def __init__(self, form: str, known: Sequence[str] = ()) -> None:
        super().__init__(form)
        self.known = list(known)

    def format(self, record: logging.LogRecord) -> str:
        """The line or lines of one record."""
        return text_without_paths(super().format(record), self.known)


def _shorten(value: str, keys: Sequence[str]) -> str:
    if keys and _SECRET_KEY.search(keys[-1]):
        return HIDDEN
    if url := _FILE_URL.match(value):
        return f"{url['kind']}:.../{_last_part(value.partition('?')[0])}"
    value = text_without_secrets(value)
    known = not PATH_KEYS.isdisjoint(keys[-2:])  # an entry of a list is below the key of the list
    if _ABSOLUTE.match(value) or ((known or "source" in keys) and "/" in value):
        return f".../{_last_part(value)}"
    return value


def _last_part(path: str) -> str:
    return _SEPARATOR.split(path.rstrip("\\/"))[-1]


def _hide(path: str) -> str:
    name = _SEPARATOR.split(path)[-1]
    return name if name.endswith(".py") else "<path>"
