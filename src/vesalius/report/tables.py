"""A report as `report.csv`, one row per run with every number, and as `report.md`, tables for people."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vesalius.metrics.formatting import csv_cell, format_metric, format_number, format_with_no_skill

_SHOWN = 4


def to_csv(content: Mapping[str, Any]) -> str:
    """One row per run: what sets it apart, its state, and every test metric with its interval and no-skill value."""
    rows = [_flat(row, part) for part in content["parts"] for row in part["rows"]]
    rows = [{csv_cell(name): csv_cell(value) for name, value in row.items()} for row in rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(row: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    monitor = row["monitor"] or {"value": None, "epoch": None}
    cells = {"run": row["run"], "task": part["task"], "state": row["state"], "reason": row["reason"], **row["values"]}
    cells |= {"seed": row["seed"], "fold": row["fold"], "epochs": row["epochs"], "seconds": row["seconds"]}
    cells |= {part["monitor"]["name"]: monitor["value"], "best_epoch": monitor["epoch"]}
    for name, entry in row["test"].items():
        cells |= _metric(f"test/{name}", entry)
    for arm, entry in row["baselines"].items():
        cells |= _metric(f"baseline/{arm}/{part['metric']}", entry)
    return {name: "" if value is None else value for name, value in cells.items()}


def _metric(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    low, high = entry["ci95"] or (None, None)
    cells = {name: entry["value"], f"{name}/low": low, f"{name}/high": high, f"{name}/no_skill": entry["no_skill"]}
    return cells | {f"{name}/patients": entry["groups"]}


def to_markdown(content: Mapping[str, Any]) -> str:
    """Headline, leaderboard, arms and their differences, as tables of GitHub's Markdown."""
    lines = [f"# {plain(content['name'])}", ""]
    for part in content["parts"]:
        lines += [plain(part["headline"]), "", *leaderboard(part), ""]
        if shows_arms(part):
            lines += [*_arms(part), ""]
        lines += [f"- {plain(entry['verdict'])}" for entry in part["arms"] if "verdict" in entry]
        lines += [f"- {plain(note)}" for note in part["notes"]]
    lines += [f"- {plain(note)}" for note in content["notes"]]
    lines += ["", "Brackets: 95 % interval over patients, and for an arm of several runs over patients and runs."]
    return "\n".join(lines) + "\n"


def shows_arms(part: Mapping[str, Any]) -> bool:
    """Whether a table of arms adds anything to the leaderboard."""
    arms = part["arms"]
    return any(len(arm["runs"]) > 1 for arm in arms) or any("difference" in arm for arm in arms)


def columns_of(part: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Columns of a leaderboard: the keys that set runs apart; the main metric and all that are not of one class."""
    keys = list(part["keys"])
    keys += [name for name in ("seed", "fold") if len({row[name] for row in part["rows"]} - {None}) > 1]
    main = [part["metric"]] if part["metric"] else []  # empty while no run is finished
    overall = [name for row in part["rows"] for name in row["test"] if "/" not in name]
    return keys, list(dict.fromkeys([*main, *overall]))


def leaderboard(part: Mapping[str, Any]) -> list[str]:
    """The runs as a table of Markdown, with the first few metrics."""
    return _table(*leaderboard_cells(part, _SHOWN))


def leaderboard_cells(part: Mapping[str, Any], metric_count: int) -> tuple[list[str], list[list[Any]]]:
    """Titles and rows of the leaderboard, with so many metrics; None for what a run does not have."""
    keys, metrics = columns_of(part)
    metrics = metrics[:metric_count]
    head = ["run", "state", *keys, part["monitor"]["name"], *metrics, "no skill", "best baseline", "seconds"]
    rows = []
    for row in part["rows"]:
        monitor, main, baseline = row["monitor"], row["test"].get(part["metric"]), row["baseline"]
        cells = [row["run"], row["state"], *(row["values"].get(key, row.get(key)) for key in keys)]
        cells += [f"{format_number(monitor['value'])} @ {monitor['epoch']}" if monitor else None]
        for name in metrics:
            format_entry = format_metric if name == part["metric"] else format_with_no_skill
            cells += [format_entry(row["test"][name]) if name in row["test"] else None]
        cells += [format_number(main["no_skill"]) if main else None]
        cells += [f"{baseline['name']} {format_metric(baseline)}" if baseline else None]
        rows.append([*cells, None if row["seconds"] is None else f"{row['seconds']:.0f}"])
    return head, rows


def _arms(part: Mapping[str, Any]) -> list[str]:
    metric = part["metric"]
    rows = [
        [
            arm["arm"],
            f"{len(arm['runs'])} of {arm['of']}",
            format_number(arm["validation"]),
            format_metric(arm["test"]) if arm["test"] else "–",
            format_number(arm["test"]["no_skill"]) if arm["test"] else "–",
            format_metric(arm["difference"]) if "difference" in arm else "–",
        ]
        for arm in part["arms"]
    ]
    return _table(
        ["arm", "runs", f"mean {part['monitor']['name']}", f"test {metric}", "no skill", "minus the first"], rows
    )


def _table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(plain('–' if cell is None else cell) for cell in line)} |" for line in lines]


def plain(text: object) -> str:
    """One line of text with markup escaped: a run's name may contain anything."""
    # Brackets of an interval, and underscores within a name, are not markup.
    escaped = re.sub(r"[\\`*~|<>&#]|\](?=[(\[:])|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(str(text).split()))
    return escaped.replace("://", r"\://")  # GitHub turns addresses into links


def to_json(content: Mapping[str, Any]) -> str:
    """JSON for a script element: nothing in it can end the element."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
