"""`python -m vesalius.commands.evaluate DIR`: evaluate a finished run again, on its own or on other data."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vesalius.config.build import build
from vesalius.config.checks import check_config
from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.config.targets import locate
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.datamodules.skipped import write_skipped
from vesalius.data.datamodules.summary import print_data
from vesalius.deploy.ensemble.backend import EnsembleBackend
from vesalius.deploy.ensemble.folder import EnsembleFolder
from vesalius.evaluation.base import results_of
from vesalius.evaluation.data_compatibility import check_fit, warn_of_known_patients
from vesalius.evaluation.data_overlap import check_data_overlap
from vesalius.evaluation.decision import DecisionOptions
from vesalius.evaluation.final import finish
from vesalius.evaluation.inference import inference_device
from vesalius.evaluation.monitoring.shift import detect_shift
from vesalius.launch.worker import enter, leave
from vesalius.metrics.shift.sentinel import describe
from vesalius.models.family import output_kind
from vesalius.runs.run_folder import ENSEMBLE, METRICS, SPLIT, RunFolder, write_json
from vesalius.terminal import command_console
from vesalius.training.checkpoints import load_checkpoint, restore_model


def evaluate(path: Path) -> None:
    """Write metrics, predictions and figures of one evaluation into its own folder inside the run's."""
    with RunFolder(path).discard_if_refused() as folder:
        _evaluate(folder)


def _inherit(data: dict[str, Any], trained: Mapping[str, Any]) -> None:
    """Where options of other data are left open, those of the run's own data count.

    Without the pattern of patients each image would be a patient of its own: intervals would be too narrow, and
    patients that the run was trained on would not be known again.
    """
    for key in ("image_size", "channels", "bits"):
        if data.get(key) is None:
            data[key] = trained.get(key)
    source, own = data["source"], trained["source"]
    if source["_target_"] == own["_target_"] and source.get("group_pattern") is None and own.get("group_pattern"):
        source["group_pattern"] = own["group_pattern"]


def _evaluate(folder: RunFolder) -> None:
    config, run = folder.config, RunFolder(folder.config["run"])
    other_data = config["data"] is not None
    members = _members(run, other_data=other_data)
    checkpoint = load_checkpoint(members[0].best)
    # Not from the checkpoint, which does not hold where the data are: it may go to others.
    trained, facts = members[0].config, Facts.from_dict(checkpoint["facts"])
    # What the model's family needs besides a source, its datamodule above all, is that of the run.
    config = {**config, "data": {**trained["data"], **(config["data"] or {})}}
    if other_data:
        _inherit(config["data"], trained["data"])
        config["data"].pop("train_classes", None)  # nothing is learned from these
    check_config(config)
    evaluation = trained["evaluation"]
    if config["evaluation"]["prevalence"] is not None:
        evaluation = {**evaluation, "prevalence": config["evaluation"]["prevalence"]}
        DecisionOptions.of_config(evaluation).check(facts.task)
    kind = output_kind(locate(checkpoint["config"]["model"]["_target_"]))
    extractor = config["evaluation"]["extractor"]
    if extractor is not None:
        if kind != "samples":
            raise InputError("evaluation.extractor: only the images of a gan are compared in features: leave it out.")
        evaluation = {**evaluation, "extractor": extractor}
    data: ImageDataModule = build(config["data"], "data")
    if other_data:
        _check_options(config, same=data.source.fingerprint() == checkpoint["provenance"].get("data"))
    else:
        data.reuse_split(run.path / SPLIT, checkpoint["provenance"].get("split"))
    data.setup("test" if other_data else None)
    if other_data:
        print_data(data.source)(data.table)
    check_data_overlap(
        "evaluation.extractor", extractor, data.table, config["data"]["source"], data.source.fingerprint()
    )
    model = restore_model(checkpoint) if len(members) == 1 else EnsembleBackend(run.path).module
    device = inference_device(trained["trainer"])
    check_fit(data, facts, targets=kind == "targets")
    if other_data:
        for member in members:
            warn_of_known_patients(data, member, "these numbers are")
    write_skipped(data, folder.path)
    settings = {key: trained[key] for key in ("seed", "data")}
    settings |= {"evaluation": evaluation, "chosen": run.metrics, "other_data": other_data}
    results = results_of(model, data, facts, settings, device, folder.path)
    final = finish(
        results,
        folder,
        ("test",),
        baselines=config["evaluation"]["baselines"],
        without_duplicates=config["evaluation"]["drop_duplicates"],
        weights=[record for member in members for record in member.provenance.get("weights") or []],
    )
    console = command_console()
    if other_data and kind == "targets":
        shift = detect_shift(results, final.predictions["test"], run)
        if shift is not None:
            write_json(folder.path / METRICS, {**final.metrics, "shift": shift.to_dict()})
            for line in describe(shift):
                console.print(line, highlight=False, markup=False)
    if not other_data and extractor is None:
        console.print(_comparison(final.metrics["test"], run.metrics["test"]), highlight=False)
    console.print(f"Written to: {folder.path}", soft_wrap=True, highlight=False)


def _members(run: RunFolder, *, other_data: bool) -> list[RunFolder]:
    """The run, or the members of an ensemble.

    Raises:
        InputError: for an ensemble without other data: it has no data of its own.
    """
    if not (run.path / ENSEMBLE).is_file():
        return [run]
    if not other_data:
        raise InputError(
            f"run={run.path} is an ensemble, whose metrics.json holds its test metrics: name other data with data=..."
        )
    return [RunFolder(member) for member in EnsembleFolder(run.path).members]


def _check_options(config: dict[str, Any], *, same: bool) -> None:
    """Refuse what makes no sense on other data than the run's.

    Args:
        config: of the evaluation.
        same: whether the data are the run's own after all.

    Raises:
        InputError: with every problem.
    """
    problems = []
    if same:
        problems.append(
            "data: these are the images that the run was trained on: leave out data=... to evaluate its test split."
        )
    if config["evaluation"]["baselines"]:
        problems.append(
            "evaluation.baselines=true: baselines are fitted on the run's own training data: leave out data=..."
        )
    if config["evaluation"]["drop_duplicates"]:
        problems.append(
            "evaluation.drop_duplicates=true compares with the run's own training images: leave out data=..."
        )
    if problems:
        raise InputError(problems)


def _comparison(now: dict[str, Any], before: dict[str, Any]) -> str:
    """One sentence on whether the metrics equal the run's own."""
    values = pd.DataFrame({"now": pd.Series(_values(now)), "before": pd.Series(_values(before))})
    off = (values["now"] - values["before"]).abs().max()
    if off < 1e-6:
        return "Equal to the run's own test metrics."
    worst = (values["now"] - values["before"]).abs().idxmax()
    return f"Differs from the run's own test metrics: by up to {off:.2g} ({worst}); other hardware or package versions?"


def _values(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: entry["value"] for name, entry in metrics.items() if entry["value"] is not None}


if __name__ == "__main__":
    leave(enter(evaluate, sys.argv[1:]))
