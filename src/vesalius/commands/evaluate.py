"""`python -m vesalius.commands.evaluate DIR`: judge a finished run again, from its folder alone or on other data."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd

from vesalius.config.build import build
from vesalius.config.checks import check_config
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.evaluation.base import draw, judge_unrepeated, results_of, save_figures, write_skipped, write_tables
from vesalius.evaluation.data_compatibility import check_fit, warn_of_known_patients
from vesalius.evaluation.inference import inference_device
from vesalius.evaluation.metric_tables import print_metrics
from vesalius.launch.worker import enter
from vesalius.models.family import output_kind
from vesalius.runs.run_folder import METRICS, SPLIT, RunFolder, write_json
from vesalius.terminal import command_console
from vesalius.training.checkpoints import load_checkpoint, restore_model


def evaluate(path: Path) -> None:
    """Write metrics, predictions and pictures of one evaluation into its own folder inside the run's."""
    folder = RunFolder(path)
    try:
        _evaluate(folder)
    except InputError:
        folder.discard()
        raise


def _evaluate(folder: RunFolder) -> None:
    config = folder.config
    run = RunFolder(config["run"])
    checkpoint = load_checkpoint(run.best)
    # The checkpoint does not say where the data lie: it may go to others.
    trained, facts = run.config, Facts.from_dict(checkpoint["facts"])
    elsewhere = config["data"] is not None
    # What the model's family needs beyond a source, its datamodule above all, is that of the run.
    config = {**config, "data": {**trained["data"], **(config["data"] or {})}}
    if elsewhere:
        config["data"].pop("train_classes", None)  # nothing is learned from these
    check_config(config)
    data: ImageDataModule = build(config["data"], "data")
    if elsewhere and data.source.fingerprint() == checkpoint["provenance"]["data"]:
        raise InputError(
            "data: these are the very images that the run was trained on: leave out data=... to judge its test split."
        )
    if not elsewhere:
        data.reuse_split(run.path / SPLIT)
    data.setup("test" if elsewhere else None)
    model, device = restore_model(checkpoint), inference_device(trained["trainer"])
    check_fit(data, facts, targets=output_kind(model) == "targets")
    if elsewhere:
        warn_of_known_patients(data, run, "these numbers are")
    decision = run.metrics.get("decision", {}).get("threshold")  # quantities and reconstructions are not decided
    judged_by = {"seed": trained["seed"], "evaluation": {**trained["evaluation"], "decision": decision}}
    results = results_of(model, data, facts, judged_by, device, folder.path)
    predictions = {"test": results.predictions("test")}
    metrics = results.judge(predictions)
    if config["evaluation"]["baselines"]:
        if elsewhere:
            raise InputError(
                "evaluation.baselines=true: baselines are fitted on the run's own training data: leave out data=..."
            )
        metrics["baselines"] = results.baselines(predictions, metrics)
    if config["evaluation"]["drop_duplicates"]:
        if elsewhere:
            raise InputError(
                "evaluation.drop_duplicates=true compares with the run's own training images: leave out data=..."
            )
        metrics["evidence"] = judge_unrepeated(results, predictions["test"], metrics)
    write_skipped(data, folder.path)
    write_tables(predictions, folder.predictions)
    write_json(folder.path / METRICS, metrics)
    save_figures(draw(results, predictions, metrics), folder.figures)
    console = command_console()
    print_metrics(metrics, console)
    if not elsewhere:
        console.print(_comparison(metrics["test"], run.metrics["test"]), highlight=False)
    console.print(f"Written to: {folder.path}", soft_wrap=True, highlight=False)


def _comparison(now: dict[str, Any], before: dict[str, Any]) -> str:
    """One sentence on whether the run's own numbers came out again."""
    values = pd.DataFrame({"now": pd.Series(_values(now)), "before": pd.Series(_values(before))})
    off = (values["now"] - values["before"]).abs().max()
    if off < 1e-6:
        return "Equal to the run's own test metrics."
    worst = (values["now"] - values["before"]).abs().idxmax()
    return f"Differs from the run's own test metrics: by up to {off:.2g} ({worst}); other hardware or package versions?"


def _values(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: entry["value"] for name, entry in metrics.items() if entry["value"] is not None}


if __name__ == "__main__":
    sys.exit(enter(evaluate, sys.argv[1:]))
