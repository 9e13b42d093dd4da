"""`python -m vesalius.commands.evaluate DIR`: judge a finished run again, from its folder alone or on other data."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd

from vesalius.config.build import build
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.config.targets import check_config
from vesalius.data.classification import ClassificationData
from vesalius.evaluation.tables import make_console, print_metrics
from vesalius.runs.checkpoints import load_checkpoint, restore_model
from vesalius.runs.folder import RunFolder, write_json
from vesalius.runs.inference import inference_device, predict
from vesalius.runs.process import enter
from vesalius.runs.results import draw, judge, judge_baselines, save_figures


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
    check_config(config)
    run = RunFolder(config["run"])
    checkpoint = load_checkpoint(run.checkpoints / "best.ckpt")
    trained, facts = checkpoint["config"], Facts.from_dict(checkpoint["facts"])
    elsewhere = config["data"] is not None
    data: ClassificationData = build(config["data"] or trained["data"], "data")
    data.setup("test" if elsewhere else None)
    _check_fit(data, facts)
    model, device = restore_model(checkpoint), inference_device(trained["trainer"])
    predictions = {"test": predict(model, data, "test", facts, device)}
    decision = run.metrics["decision"]["threshold"]
    metrics = judge(predictions, facts, {"decision": decision})
    if config["evaluation"]["baselines"] and not elsewhere:
        metrics["baselines"] = judge_baselines(data, predictions["test"], facts, trained["seed"])
    folder.predictions.mkdir()
    predictions["test"].to_csv(folder.predictions / "test.csv", index=False)
    write_json(folder.path / "metrics.json", metrics)
    save_figures(draw(metrics, predictions["test"], data, facts, folder.path), folder.figures)
    console = make_console()
    print_metrics(metrics, console)
    if not elsewhere:
        console.print(_comparison(metrics["test"], run.metrics["test"]), highlight=False)
    console.print(f"Written to: {folder.path}", soft_wrap=True, highlight=False)


def _check_fit(data: ClassificationData, facts: Facts) -> None:
    """Refuse data that the model cannot be judged on."""
    problems = []
    if data.source.classes != facts.classes:
        problems.append(
            f"data: the classes are {', '.join(data.source.classes)}, but the run was trained on "
            f"{', '.join(facts.classes)}: map them, for example with data.source.classes=[...]."
        )
    if data.store.shape[0] != facts.channels:
        problems.append(
            f"data: images have {data.store.shape[0]} channels, the run's had {facts.channels}: "
            f"set data.channels={facts.channels}."
        )
    if tuple(data.store.shape[1:]) != facts.image_size:
        problems.append(
            f"data: images are {'x'.join(map(str, data.store.shape[1:]))} pixels, the run's were "
            f"{'x'.join(map(str, facts.image_size))}: set data.image_size={facts.image_size[0]}."
        )
    if problems:
        raise InputError(problems)


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
