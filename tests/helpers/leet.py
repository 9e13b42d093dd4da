"""Reads offline W&B logs back with W&B's own tool."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from wandb.util import get_core_path


def records(log: Path) -> list[dict[str, Any]]:
    """All records of a `.wandb` file, as `wandb leet inspect --json` prints them; its program starts at once."""
    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json", "--run-file", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def whole_log(folder: Path) -> list[dict[str, Any]]:
    """Records of the only log of a run, once W&B's own process has written the end of it.

    Args:
        folder: the run folder, or W&B's in it.
    """
    (log,) = [*folder.glob("wandb/offline-run-*/run-*.wandb"), *folder.glob("run-*.wandb")]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        told = records(log)
        if of_type(told, "exit"):
            return told
        time.sleep(0.1)
    raise AssertionError(f"{log} has no end")


def of_type(told: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The contents of the records of a type."""
    return [record[kind] for record in told if record["type"] == kind]


def summary(told: list[dict[str, Any]]) -> dict[str, Any]:
    """The summary in the end: later values replace earlier ones."""
    return {key: value for update in of_type(told, "summary") for key, value in update.get("update", {}).items()}


def epochs(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """History rows that hold metrics; what is logged at the end, media alone, stands in one more."""
    return [row["item"] for row in of_type(told, "history") if "train/loss" in row["item"]]
