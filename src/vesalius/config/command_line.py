"""Command lines: their overrides and flags, and values that are text as typed. Torch-free."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from vesalius.config.path_keys import PATH_KEYS

# Keys whose values Hydra's grammar must not read: folders are called `2020`, patterns hold parentheses.
_TEXT_KEYS = (
    PATH_KEYS | {"resume", "out", "output", "reports", "column", "dir", "group_pattern", "pattern"} | {"intended_use"}
)
_TAKE_VALUE = {"--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p"} | {
    "--cfg",
    "-c",
    "--info",
    "-i",
}
MULTIRUN = frozenset({"-m", "--multirun"})


def split_arguments(arguments: Sequence[str]) -> list[str]:
    """The overrides of a command line: what is neither a flag nor the value of one."""
    return [
        argument
        for argument, previous in zip(arguments, ["", *arguments], strict=False)
        if not argument.startswith("-") and previous not in _TAKE_VALUE
    ]


def is_multirun(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for a sweep."""
    return not MULTIRUN.isdisjoint(arguments)


def config_dir_of(arguments: Sequence[str]) -> str | None:
    """The value of `--config-dir`; None without it."""
    for flag in ("--config-dir", "-cd"):
        for position, argument in enumerate(arguments):
            if argument.startswith(f"{flag}="):
                return argument.partition("=")[2]
            if argument == flag and position + 1 < len(arguments):
                return arguments[position + 1]
    return None


def quote_text_values(arguments: Sequence[str]) -> list[str]:
    """Arguments in which paths and patterns are quoted for Hydra where it would not read them as the text they are.

    In a sweep, commas outside brackets separate values, whatever other characters these hold; a path with such a comma
    must be in quotes.
    """
    sweep = is_multirun(arguments)
    overrides = set(split_arguments(arguments))
    return [_quoted(argument, sweep) if argument in overrides else argument for argument in arguments]


def _quoted(override: str, sweep: bool) -> str:
    key, equals, value = override.partition("=")
    if not equals or key.rpartition(".")[2] not in _TEXT_KEYS or "${" in value:
        return override
    return f"{key}={','.join(map(_as_text, _split_at_commas(value) if sweep else [value]))}"


def _as_text(value: str) -> str:
    """A path or pattern as Hydra reads it as text; `null`, lists and functions such as `choice(a,b)` stay."""
    try:
        parsed = OverridesParser.create().parse_override(f"key={value}")
    except (HydraException, ValueError):
        return quote(value)
    if parsed.is_sweep_override():
        return quote(value) if Path(value).expanduser().exists() else value
    return quote(value) if isinstance(parsed.value(), int | float) and value not in ("true", "false") else value


def _split_at_commas(text: str) -> Iterator[str]:
    """The parts of a text between commas that stand outside brackets and quotes."""
    depth, quoted_by, start = 0, "", 0
    for position, character in enumerate(text):
        if quoted_by:
            if character == quoted_by and text[position - 1] != "\\":
                quoted_by = ""
        elif character in "'\"" and not text[start:position].strip():
            quoted_by = character
        elif character == "," and depth == 0:
            yield text[start:position].strip()
            start = position + 1
        else:
            depth += (character in "([{") - (character in ")]}")
    yield text[start:].strip()


def quote(text: str) -> str:
    """Text in single quotes as Hydra reads them: a backslash before a quote and before a final backslash."""
    escaped = text.replace("\\'", "\\\\'").replace("'", "\\'")
    if escaped.endswith("\\"):
        escaped += "\\"
    return f"'{escaped}'"


def spelling(override: str) -> str:
    """The same `key=value` as it must be typed in a shell for Hydra to read its value as text; empty if none does."""
    key, equals, value = override.partition("=")
    if not equals or not key or "'" in value or value[:1] in "[{":
        return ""
    typed = f'{key}="{value}"'
    try:
        OverridesParser.create().parse_override(typed)
    except (HydraException, ValueError):
        return ""
    return f"'{typed}'"
