"""The table of `make gpu`: rows as of `make bench`, collected over several processes in the folder named by `OUT`.

They are appended to one file, so that those of a stopped run are kept.
"""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from speed_rows import Row, machine, to_json, to_markdown

ROWS, TABLE, DATA = "rows.jsonl", "gpu.md", "gpu.json"


def record(row: Row) -> None:
    """Print a row, and keep it where there is a folder for it."""
    print("; ".join(row.cells()))
    if folder := os.environ.get("OUT"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        with (Path(folder) / ROWS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**asdict(row), "time": time.time()}) + "\n")


def write_table(folder: Path) -> str:
    """Write the table of all rows in a folder as `gpu.md` and `gpu.json`, and return its text."""
    found = [json.loads(line) for line in (folder / ROWS).read_text(encoding="utf-8").splitlines()]
    times = [entry.pop("time") for entry in found]
    rows = [Row(**entry) for entry in found]
    about = {**_machine(), "minutes": (max(times) - min(times)) / 60}
    text = to_markdown(rows, about, [])
    (folder / TABLE).write_text(text, encoding="utf-8")
    (folder / DATA).write_text(to_json(rows, about, []), encoding="utf-8")
    return text


def _machine() -> dict[str, Any]:
    """As of `make bench`, with the GPU."""
    about, load = machine(), os.getloadavg()
    about["load"] = {"begin": load[2], "end": load[0]}
    if torch.cuda.is_available():
        about["gpu"] = torch.cuda.get_device_name()
        about["versions"] |= {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "nccl": ".".join(map(str, torch.cuda.nccl.version())),
        }
        about["cpu"] = f"{about['gpu']}; {about['cpu']}"
    return about
