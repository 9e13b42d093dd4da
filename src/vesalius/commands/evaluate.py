"""`python -m vesalius.commands.evaluate DIR`: judge a finished run again, from its folder alone or on other data."""

import logging
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from vesalius.config.build import build
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.config.targets import check_config
from vesalius.data.datamodule import ImageDataModule
from vesalius.evaluation.tables import make_console, print_metrics
from vesalius.runs.checkpoints import load_checkpoint, restore_model
from vesalius.runs.folder import METRICS, SPLIT, RunFolder, write_json
from vesalius.runs.inference import inference_device, predict
from vesalius.runs.process import enter
from vesalius.runs.results import draw, judge, judge_baselines, judge_unrepeated, save_figures, write_skipped

logger = logging.getLogger("vesalius")


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
    check_config(config)
    data: ImageDataModule = build(config["data"], "data")
    if elsewhere and data.source.fingerprint() == checkpoint["provenance"]["data"]:
        raise InputError(
            "data: these are the very images that the run was trained on: leave out data=... to judge its test split."
        )
    if not elsewhere:
        data.keep_split(run.path / SPLIT)
    data.setup("test" if elsewhere else None)
    _check_fit(data, facts)
    if elsewhere:
        _warn_of_known_patients(data, run)
    model, device = restore_model(checkpoint), inference_device(trained["trainer"])
    predictions = {"test": predict(model, data, "test", facts, device)}
    decision = run.metrics.get("decision", {}).get("threshold")  # quantities are not decided
    metrics = judge(predictions, facts, {"decision": decision})
    if config["baselines"]:
        if elsewhere:
            raise InputError("baselines=true: baselines are fitted on the run's own training data: leave out data=...")
        metrics["baselines"] = judge_baselines(data, predictions["test"], facts, trained["seed"])
    if config["drop_duplicates"]:
        if elsewhere:
            raise InputError("drop_duplicates=true compares with the run's own training images: leave out data=...")
        metrics["evidence"] = judge_unrepeated(predictions["test"], data, facts, metrics)
    write_skipped(data, folder.path)
    folder.predictions.mkdir()
    predictions["test"].to_csv(folder.predictions / "test.csv", index=False)
    write_json(folder.path / METRICS, metrics)
    save_figures(draw(metrics, predictions["test"], data, facts, folder.path), folder.figures)
    console = make_console()
    print_metrics(metrics, console)
    if not elsewhere:
        console.print(_comparison(metrics["test"], run.metrics["test"]), highlight=False)
    console.print(f"Written to: {folder.path}", soft_wrap=True, highlight=False)


def _check_fit(data: ImageDataModule, facts: Facts) -> None:
    """Refuse data that the model cannot be judged on."""
    problems = []
    if data.source.task != facts.task:
        problems.append(f"data: the task is {data.source.task}, but the run was trained for {facts.task}.")
    elif data.source.classes != facts.classes:
        problems.append(
            f"data: the classes are {', '.join(data.source.classes)}, but the run was trained on "
            f"{', '.join(facts.classes)}: map them, for example with data.source.classes=[...]."
        )
    if data.store.shape[0] != facts.channels:
        problems.append(
            f"data: images have {data.store.shape[0]} channels, the run's had {facts.channels}: "
            f"set data.channels={facts.channels}."
        )
    if data.value_max != facts.value_max:
        problems.append(
            f"data: pixels reach {data.value_max:g}, the run's reached {facts.value_max:g}: "
            "convert the files to the same depth."
        )
    if tuple(data.store.shape[1:]) != facts.image_size:
        problems.append(
            f"data: images are {'x'.join(map(str, data.store.shape[1:]))} pixels, the run's were "
            f"{'x'.join(map(str, facts.image_size))}: set data.image_size={facts.image_size[0]}."
        )
    problems += data.unfit(facts)
    if problems:
        raise InputError(problems)


def _warn_of_known_patients(data: ImageDataModule, run: RunFolder) -> None:
    """Ids may agree by chance from one hospital to another; the user knows, we do not."""
    split = pd.read_csv(run.path / SPLIT, dtype=str)
    trained = set(split.loc[split["split"].isin(["train", "val"]), "group_id"])
    known = trained & set(data.table["group_id"].astype(str))
    if known:
        logger.warning(
            "%d patients have the ids of patients that the run was trained on. If they are the same, these numbers are "
            "too good.",
            len(known),
        )


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
