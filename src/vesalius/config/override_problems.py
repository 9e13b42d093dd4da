"""Why a command line did not compose: all reasons at once, each with the nearest right spelling.

Hydra stops at the first bad override. Nothing here runs for a command line without mistakes.
"""

import contextlib
import difflib
import re
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from vesalius.config.addresses import address_problems
from vesalius.config.command_line import spelling
from vesalius.config.diagnose import did_you_mean
from vesalius.config.schema import root_keys

#: What Hydra and OmegaConf raise for what cannot be composed; assertions where a part is set of what is null.
NOT_COMPOSED = (HydraException, OmegaConfBaseException, ValueError, AssertionError, RecursionError)
_LONGEST_KEY = 200


def missing_values(config: DictConfig) -> list[str]:
    """One sentence for every `???` without a value, or for a `${...}` that names no key."""
    try:
        missing = sorted(OmegaConf.missing_keys(config))
    except InterpolationResolutionError as error:
        cure = "write a key of the config between the braces"
        if "Environment variable" in str(error):
            cure = "set the variable, or give a default as in ${oc.env:NAME,default}"
        return [f"{error.full_key}: {str(error).splitlines()[0]}: {cure}."]
    return [f"{key} has no value: give it on the command line as {key}=VALUE." for key in missing]


def find_problems(verb: str, conf: Path, config_dir: str | None, overrides: list[str]) -> list[str]:
    """Check every override against the config that the other overrides compose.

    Args:
        verb: the primary config.
        conf: folder of the shipped configs.
        config_dir: the user's own folder, if one was given.
        overrides: as typed.

    Returns:
        One sentence per problem; empty for a correct command line.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        return [f"--config-dir {config_dir}: there is no such folder."]
    GlobalHydra.instance().clear()
    searchpath = [] if config_dir is None else [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"]
    folders = [conf] if config_dir is None else [conf, Path(config_dir)]
    with initialize_config_dir(str(conf), version_base="1.3"):
        return list(_problems(verb, overrides, searchpath, folders))


def _problems(verb: str, overrides: list[str], searchpath: list[str], folders: list[Path]) -> Iterator[str]:
    parsed: list[Override] = []
    for text in overrides:
        key, _, values = text.lstrip("+").partition("=")
        for value in values.split(","):
            yield from address_problems(key, value.strip("'\""))
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            yield _unreadable(text)
            continue
        if len(override.key_or_group) > _LONGEST_KEY:  # no file system has names of that length
            yield f"{override.key_or_group[:40]}...: this is not a part of the config."
            continue
        # Hydra's own settings are its own to check; where it should search for configs matters here too.
        if override.key_or_group == "hydra.searchpath":
            searchpath.append(text)
        elif override.key_or_group.split("/")[0].split(".")[0] != "hydra":
            parsed.append(override)
    groups = [override for override in parsed if any((folder / override.key_or_group).is_dir() for folder in folders)]
    chosen = list(searchpath)
    for override in groups:
        bad = list(_bad_options(verb, folders, override))
        yield from bad
        choice = next(iter(_values(override)), None)
        if not bad and isinstance(choice, str):
            chosen.append(f"{_group(override)}={choice}")
    base = yield from _compose_choices(verb, chosen, len(searchpath))
    if base is None:
        return
    for override in parsed:
        if override not in groups:
            found = list(_value_problem(verb, base, override))
            yield from found
            if not found and not override.is_delete():
                yield from _update(base, override)
    yield from missing_values(base)


def _compose_choices(verb: str, chosen: list[str], first: int) -> Generator[str, None, DictConfig | None]:
    """Compose the choices of groups, and give a message for each of them that does not compose with those before it.

    Args:
        verb: the primary config.
        chosen: overrides that choose an option of a group, after those that say where to search.
        first: how many of the latter there are.

    Returns:
        The config of the choices that compose; None where even they do not.
    """
    with contextlib.suppress(*NOT_COMPOSED):
        return compose(verb, chosen)  # one composition, where no choice is wrong
    good = chosen[:first]
    for choice in chosen[first:]:
        try:
            compose(verb, [*good, choice])
            good.append(choice)
        except NOT_COMPOSED as error:
            yield _composition_problem(verb, error)
    try:
        return compose(verb, good)
    except NOT_COMPOSED as error:
        yield _composition_problem(verb, error)
        return None


def _update(base: DictConfig, override: Override) -> Iterator[str]:
    """Set the value, or give a message where it cannot be."""
    key, value = override.key_or_group, next(iter(_values(override)), None)
    try:
        OmegaConf.update(base, key, value, force_add=True)
    except NOT_COMPOSED as error:
        yield f"{key}={value}: {_reason(error)}."


def several_values(overrides: Iterable[str]) -> Iterator[str]:
    """A message for each override that lists values as a sweep does, for a command line without `-m`."""
    for text in overrides:
        if OverridesParser.create().parse_override(text).is_sweep_override():
            key, _, value = text.partition("=")
            typed = spelling(text)
            one = f", for one text type {typed}" if typed else ""
            yield f"{text}: several values need a sweep: add -m; for a list type '{key}=[{value}]'{one}."


def _unreadable(text: str) -> str:
    """A message for an override that Hydra cannot parse, with the spelling that it can."""
    typed = spelling(text)
    cure = f"to give this text, type {typed}" if typed else "write key=value, with brackets and quotes closed"
    return f"'{text}' is not an override that Hydra can read: {cure}."


def _group(override: Override) -> str:
    """A group as typed, with the package of its options if one was given."""
    return override.key_or_group if override.package is None else f"{override.key_or_group}@{override.package}"


def _bad_options(verb: str, folders: list[Path], override: Override) -> Iterator[str]:
    options = [path.stem for folder in folders for path in (folder / override.key_or_group).glob("*.yaml")]
    for value in _values(override):
        if isinstance(value, str) and value != "null" and value not in options:
            hint = _elsewhere(verb, folders, value) or did_you_mean(value, options)
            yield f"{override.key_or_group}={value}: there is no such option.{hint}"


def _elsewhere(verb: str, folders: list[Path], value: str) -> str:
    """A suggestion if another group of this verb, or of any verb, has an option of this name."""
    for primary in sorted(folders[0].glob("*.yaml"), key=lambda path: (path.stem != verb, path.stem)):
        defaults = yaml.safe_load(primary.read_text(encoding="utf-8"))["defaults"]
        for group in (name for entry in defaults if isinstance(entry, dict) for name in entry):
            if any((folder / group / f"{value}.yaml").is_file() for folder in folders):
                return f" Did you mean 'vesalius {primary.stem} {group}={value}'?"
    return ""


def _values(override: Override) -> list[Any]:
    """The values that an override sets, one per job of a sweep; empty if only a sweeper knows them."""
    if not override.is_sweep_override():
        return [override.value()]
    try:
        return list(override.sweep_iterator())
    except HydraException:
        return []


def _value_problem(verb: str, base: DictConfig, override: Override) -> Iterator[str]:
    key = override.key_or_group
    path = key.split(".")
    fields = root_keys(verb)
    if path[0] not in fields:
        known = [*fields, *_leaves(base)]
        meant = difflib.get_close_matches(path[0], list(fields), n=1, cutoff=0.6)
        hint = did_you_mean(".".join([*meant, *path[1:]]) if meant else key, known)
        yield f"{key}: {path[0]!r} is not a part of the config.{hint}"
        return
    node: Any = base
    for depth, part in enumerate(path):
        if not _has(node, part):
            if override.is_add() or override.is_force_add():
                return  # the signature of the _target_ decides
            siblings = [".".join([*path[:depth], name]) for name in _names(node)]
            here = ".".join(path[: depth + 1])
            yield f"{here}: there is no such key.{did_you_mean(here, [*siblings, *_leaves(base)])}"
            return
        node = node[int(part)] if isinstance(node, ListConfig) else OmegaConf.select(node, part)
    if override.is_add() or override.is_delete():
        return
    for value in _values(override):
        try:
            OmegaConf.update(base.copy(), key, value, merge=True)
        except NOT_COMPOSED as error:
            yield f"{key}={value}: {_reason(error)}."


def _reason(error: BaseException) -> str:
    """First line of an error; OmegaConf has no words for a part of what is null."""
    null = isinstance(error, AssertionError) or not str(error)
    return "it is part of what is null, which must be chosen first" if null else str(error).splitlines()[0]


def _names(node: Any) -> list[str]:
    return list(map(str, node)) if isinstance(node, DictConfig) and not node._is_none() else []


def _has(node: Any, part: str) -> bool:
    if isinstance(node, ListConfig):
        return part.isdigit() and int(part) < len(node)
    return part in _names(node)


def _leaves(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, DictConfig):
        for name in map(str, node):
            value = node._get_node(name)
            inner = value if isinstance(value, DictConfig) else None
            yield f"{prefix}{name}"
            if inner is not None and not inner._is_none():
                yield from _leaves(inner, f"{prefix}{name}.")


def _composition_problem(verb: str, error: BaseException) -> str:
    """Hydra's message, or ours for a config file with an unknown key."""
    text = " ".join(str(error).split())
    if error.__cause__ is not None and str(error.__cause__) not in str(error):
        text = f"{text}: {' '.join(str(error.__cause__).split())}"
    unknown = re.search(r"In '([^']+)'.*Key '([^']+)' (?:is )?not in", text)
    if unknown is None:
        return text
    file, key = unknown.groups()
    return f"{file}.yaml: {key!r} is not a part of the config.{did_you_mean(key, root_keys(verb))}"
