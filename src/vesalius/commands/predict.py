"""`python -m vesalius.commands.predict DIR`: what a finished run, or a bundle, predicts for new files."""

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from vesalius.config.errors import InputError
from vesalius.deploy.bundle.backend import BundleBackend
from vesalius.deploy.dicom.report_folder import ReportFolder
from vesalius.deploy.explain.files import write_explanations
from vesalius.deploy.explain.methods import check_explanation
from vesalius.deploy.inputs import find_inputs
from vesalius.deploy.loading import load
from vesalius.deploy.predictor import Predictor
from vesalius.deploy.shift import ShiftMonitor
from vesalius.launch.worker import enter, leave
from vesalius.metrics.formatting import csv_table
from vesalius.metrics.shift.sentinel import describe
from vesalius.runs.run_folder import RunFolder, write_atomically, write_json
from vesalius.terminal import command_console, show_progress

PREDICTIONS = "predictions.csv"
SHIFT = "shift.json"
ENDINGS = (".csv", ".jsonl")
_SHOWN = 5


def predict(path: Path) -> None:
    """Write the table of predictions, and print what is in it."""
    with RunFolder(path).discard_if_refused() as folder:
        _predict(folder)


def _predict(folder: RunFolder) -> None:
    config = folder.config
    output = _output(config, folder)
    reports = None if config["reports"] is None else ReportFolder(Path(config["reports"]).expanduser(), config)
    model = load(config["run"]) if config["bundle"] is None else Predictor(BundleBackend(config["bundle"]))
    if config["explain"] is not None:
        check_explanation(model.backend, config["explain"], config["explain_target"])
    scorer = None
    if config["autoencoder"] is not None:
        from vesalius.deploy.anomaly import AnomalyScorer  # torch

        scorer = AnomalyScorer(config["autoencoder"], model.contract)
    files, passed_over = find_inputs(Path(config["input"]).expanduser(), model.contract, config["column"])
    monitor = ShiftMonitor(model.backend)
    batches = model.rows(files, [file.name for file in files], config["batch_size"], observe=monitor.update)
    shown = show_progress(batches, len(files), "predict", size=lambda batch: len(batch))
    table = pd.concat(list(shown), ignore_index=True)
    refused = table["problem"].dropna()
    if len(refused) and (config["on_bad_file"] == "error" or len(refused) == len(table)):
        raise InputError([*refused.head(_SHOWN), *[f"And {len(refused) - _SHOWN} more."] * (len(refused) > _SHOWN)])
    if scorer is not None:
        table = pd.concat([table, scorer.columns(files, config["batch_size"])], axis=1)
        table["problem"] = table.pop("problem")  # the last, as ever
    reported = [] if reports is None else reports.write(model, files, table)
    _write(table, output)
    console = command_console()
    if config["explain"] is not None:
        options = {"method": config["explain"], "target": config["explain_target"], "arrays": config["explain_arrays"]}
        pictures = _pictures(output)
        pictures.mkdir()
        written = write_explanations(model, files, pictures, **options)
        empty = sum(show_progress(written, len(files), "explain"))
    _summarize(table, console)
    shift = monitor.result()
    if shift is not None and shift.findings:
        write_json(folder.path / SHIFT, shift.to_dict())
    for sentence in [*passed_over, *reported, *([] if shift is None else describe(shift))]:
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)
    if config["explain"] is not None:
        maps = "map is" if empty == 1 else "maps are"
        nothing = f" ({empty} {maps} empty: too little speaks for what is explained)" if empty else ""
        console.print(f"Explanations: {_pictures(output)}{nothing}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"Written to: {output}", soft_wrap=True, highlight=False, markup=False)


def _pictures(output: Path) -> Path:
    """The folder of the explanations of a table."""
    return output.with_name(f"{output.stem}_explained")


def _output(config: dict[str, Any], folder: RunFolder) -> Path:
    """The file to write; checked before anything is predicted."""
    problems = []
    if config["on_bad_file"] not in ("skip", "error"):
        problems.append(f"on_bad_file={config['on_bad_file']}: expected skip or error.")
    if config["batch_size"] < 1:
        problems.append(f"batch_size={config['batch_size']}: must be 1 or more.")
    output = folder.path / PREDICTIONS if config["output"] is None else Path(config["output"]).expanduser()
    if output.suffix.lower() not in ENDINGS:
        problems.append(f"output={output}: name a file that ends in .csv or .jsonl.")
    if output.is_dir():
        problems.append(f"output={output} is a folder: name a file in it.")
    elif output.exists():
        problems.append(f"output={output} exists already: name another file, or remove it.")
    if config["explain"] is not None and _pictures(output).exists():
        problems.append(f"{_pictures(output)} exists already: name another output, or remove it.")
    if not output.parent.is_dir():
        problems.append(f"output={output}: there is no folder {output.parent}: create it.")
    elif not _is_writable(output.parent):
        problems.append(f"output={output}: nothing can be written into {output.parent}: name another folder.")
    if config["explain"] is None and config["explain_target"] is not None:
        problems.append("explain_target= is for heat maps: add explain=auto, or leave it out.")
    if problems:
        raise InputError(problems)
    return output


def _is_writable(folder: Path) -> bool:
    """Whether a file can be created in a folder; its permissions do not tell that of all file systems."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _write(table: pd.DataFrame, output: Path) -> None:
    if output.suffix.lower() == ".jsonl":
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        write_atomically(output, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    else:
        write_atomically(output, csv_table(table))


def _summarize(table: pd.DataFrame, console: Console) -> None:
    """How many inputs there are of each predicted class, and the first that were refused."""
    refused = table["problem"].dropna()
    done = len(table) - len(refused)
    counts = Counter(table["prediction"].dropna()) if "prediction" in table else Counter()
    named = ", ".join(f"{count} {name or 'none'}" for name, count in counts.most_common())
    console.print(f"{done} predicted{': ' if named else ''}{named}.", highlight=False, markup=False)
    if unsure := int(table["abstain"].eq(True).sum()) if "abstain" in table else 0:
        console.print(f"{unsure} too unsure, to be left to a person: see the column abstain.", highlight=False)
    unlike = int(table["ood"].eq(True).sum()) if "ood" in table else 0
    if unlike:
        console.print(f"{unlike} unlike the images that the run learned from: see the column ood.", highlight=False)
    if unusual := int(table["anomaly"].eq(True).sum()) if "anomaly" in table else 0:
        console.print(f"{unusual} unusual to the autoencoder: see the column anomaly.", highlight=False)
    if len(refused):
        console.print(f"{len(refused)} refused:", highlight=False)
        for problem in refused.head(_SHOWN):
            console.print(f"  {problem}", highlight=False, markup=False)
        if len(refused) > _SHOWN:
            console.print(f"  and {len(refused) - _SHOWN} more: see the column problem.", highlight=False)


if __name__ == "__main__":
    leave(enter(predict, sys.argv[1:]))
