"""Careful readers of a run's files: each returns content of the expected shape, or raises.

A run may be half written, edited by hand or damaged. What is wrong is found here, where the file is known by its name,
and not by whatever draws a chart of it later.
"""

import csv
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from vesalius.config.errors import InputError
from vesalius.config.plain import read_json, read_yaml
from vesalius.runs.decision_parts import decision_parts
from vesalius.runs.redaction import text_without_paths
from vesalius.runs.shapes import check_number, entries_of, entry_of, list_of, mapping_of

Read = TypeVar("Read")

#: What is raised for a file that is not what it should be.
DAMAGE = (OSError, ValueError, yaml.YAMLError, csv.Error)
#: Folders of a run in which it reads or writes; whatever else lies in one is new.
_FOLDERS = ("checkpoints", "predictions", "predictions/baselines", "figures", "logs", "samples", "wandb")
# How deep the entries of metrics lie in the parts of `metrics.json`.
_DEPTHS = {"test": 1, "baselines": 2, "evidence": 2, "anomaly": 2, "probes": 3, "subgroups": 3}
_EXTRACTOR = {"name", "layer", "hash", "dim"}


def check_links(folder: Path) -> None:
    """Refuse a run folder from which a link leads out: through it files elsewhere would be read, or written.

    Raises:
        InputError: naming the link.
    """
    base = os.path.realpath(folder)
    for place in (folder, *(folder / name for name in _FOLDERS)):
        if not place.is_dir():
            continue
        for entry in os.scandir(place):
            if entry.is_symlink() and os.path.commonpath([base, os.path.realpath(entry.path)]) != base:
                raise InputError(
                    f"{entry.path} is a link that leads out of the folder, and is not followed: replace it by what it "
                    "leads to."
                )


def read_or(reader: Callable[[Path], Read], path: Path, fallback: Read, name: str, notes: list[str]) -> Read:
    """Content of a file; `fallback` where there is no file, and, with a note, where it is damaged.

    Args:
        reader: one of this module.
        path: of the file.
        fallback: in its place.
        name: of the run, for the note.
        notes: a note on a damaged file is added.
    """
    try:
        return reader(path)
    except FileNotFoundError:
        return fallback
    except DAMAGE as error:
        notes.append(f"{name}: {path.name} cannot be read and is left out: {describe_error(error)}")
        return fallback


def describe_error(error: BaseException) -> str:
    """Message of an error, on one line and without paths, which may name a patient."""
    message = (error.strerror or "it cannot be opened") if isinstance(error, OSError) else str(error)
    return f"{' '.join(text_without_paths(message).split())[:200].rstrip('.')}."


def read_config(path: Path) -> dict[str, Any] | None:
    """`config.yaml` of a training run; None of another verb's."""
    config = mapping_of(read_yaml(path), "the file")
    if "model" not in config or "monitor" not in config:
        return None
    for key in ("model", "monitor"):
        mapping_of(config[key], key)
    data, _ = (mapping_of(config.get(key) or {}, key) for key in ("data", "trainer"))
    if any(isinstance(value, Mapping | list) for value in (config.get("seed"), data.get("seed"), data.get("fold"))):
        raise ValueError("a seed or a fold is not a number")
    return config


def read_state(path: Path) -> dict[str, Any]:
    """`state.json`."""
    state = mapping_of(_finite(read_json(path)), "the file")
    if not isinstance(state.get("state"), str):
        raise ValueError("it holds no state")
    for key in ("seconds", "pid"):
        check_number(state.get(key), key)
    return state


def read_results(path: Path) -> dict[str, Any]:
    """`metrics.json`; a number that is not finite is None."""
    results = mapping_of(_finite(read_json(path)), "the file")
    if not isinstance(results.get("task"), str) or not results.get("test"):
        raise ValueError("it holds no task or no test metrics")
    results |= {part: entries_of(results.get(part) or {}, depth, part) for part, depth in _DEPTHS.items()}
    results |= {part: mapping_of(results.get(part) or {}, part) for part in ("monitor", "decision")}
    results["contamination"] = [str(line) for line in list_of(results.get("contamination") or [], "contamination")]
    for key in ("best", "epoch"):
        check_number(results["monitor"].get(key), f"monitor.{key}")
    if isinstance(extractor := results.get("extractor"), Mapping) and not extractor.keys() >= _EXTRACTOR:
        raise ValueError(f"extractor names no {', '.join(sorted(_EXTRACTOR - extractor.keys()))}")
    if results.get("two_sample"):
        results["two_sample"] = entry_of(results["two_sample"], "two_sample", ("n", "synthetic", "groups"))
    if results.get("memorisation"):
        results["memorisation"] = _memorisation(results["memorisation"])
    return results | decision_parts(results)


def read_history(path: Path) -> list[dict[str, float]]:
    """One mapping per epoch: the finite numbers of `history.csv`."""
    with path.open(encoding="utf-8", newline="") as file:
        return [_numbers(row) for row in csv.DictReader(file)]


def read_overrides(path: Path) -> dict[str, str]:
    """`overrides.yaml` by key, as typed."""
    loaded = read_yaml(path)
    if not isinstance(loaded, list):
        raise ValueError("it is not a list")
    return overrides_by_key(loaded)


def overrides_by_key(overrides: list[Any]) -> dict[str, str]:
    """Values of `key=value` overrides by key, without the signs that add or remove a key."""
    pairs = [str(entry).partition("=") for entry in overrides]
    return {key.lstrip("+~"): value if equals else "" for key, equals, value in pairs}


def read_provenance(path: Path) -> dict[str, Any]:
    """`provenance.json`; empty where there is none, as before training begins."""
    if not path.is_file():
        return {}
    origin = mapping_of(read_json(path), "the file")
    origin |= {part: mapping_of(origin.get(part) or {}, part) for part in ("code", "packages", "hardware")}
    lists = {"command": origin.get("command"), "gpus": origin["hardware"].get("gpus"), "weights": origin.get("weights")}
    for part, value in lists.items():
        if not isinstance(value or [], list):
            raise ValueError(f"{part} is not a list")
    origin["weights"] = [mapping_of(record, "weights") for record in origin.get("weights") or []]
    return origin


def read_sweep(path: Path) -> dict[str, Any]:
    """`sweep.json`; importances that are not finite are left out."""
    sweep = mapping_of(_finite(read_json(path)), "the file")
    sweep["jobs"] = list_of(sweep.get("jobs"), "jobs")
    for job in sweep["jobs"]:
        mapping_of(job, "a job")
        if not isinstance(job.get("number"), int):
            raise ValueError("a job has no number")
        list_of(job.get("overrides"), "overrides of a job")
    study = mapping_of(sweep.get("study") or {}, "study")
    importance = mapping_of(study.get("importance") or {}, "importance")
    for key, share in importance.items():
        check_number(share, key)
    study["importance"] = {key: share for key, share in importance.items() if share is not None}
    objectives = [mapping_of(one, "objective") for one in list_of(study.get("objectives"), "objectives")]
    if not all("name" in one for one in objectives):
        raise ValueError("an objective has no name")
    study["objectives"] = [str(one["name"]) for one in objectives]
    study["front"] = list_of(study.get("front"), "front")
    return {**sweep, "study": study if sweep.get("study") else None}


def _memorisation(node: Any) -> dict[str, Any]:
    """Whether images were copied, of all of them and of parts."""
    result = _entry_with_p(node, "memorisation", ("n", "synthetic", "train", "groups"))
    if not isinstance(result.get("flagged"), bool):
        raise ValueError("memorisation does not state whether images were copied")
    parts = [part for part in ("training_nearest", "closest") if part in result]
    return result | {part: _entry_with_p(result[part], f"memorisation.{part}", ()) for part in parts}


def _entry_with_p(node: Any, name: str, counts: Sequence[str]) -> dict[str, Any]:
    entry = entry_of(node, name, counts)
    check_number(entry.get("p_value"), f"p_value of {name}")
    return {"p_value": None, **entry}


def _finite(node: Any) -> Any:
    """None in place of NaN and infinity."""
    if isinstance(node, Mapping):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def _numbers(row: Mapping[str, str | None]) -> dict[str, float]:
    numbers = {}
    for name, text in row.items():
        try:
            number = float(text or "nan")
        except (TypeError, ValueError):
            continue
        if math.isfinite(number):
            numbers[name] = number
    return numbers
