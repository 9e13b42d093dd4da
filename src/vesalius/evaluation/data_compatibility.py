"""Whether a finished run's model can take some data, and whether it knows their patients."""

import logging

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.splits.file import load_run_split
from vesalius.runs.run_folder import SPLIT, RunFolder

logger = logging.getLogger("vesalius")


def check_fit(data: ImageDataModule, facts: Facts, *, targets: bool = True) -> None:
    """Refuse data that a model cannot take.

    Args:
        data: set up.
        facts: of the data that the model was trained on.
        targets: whether task and classes must agree, as for metrics of predicted targets.

    Raises:
        InputError: with every difference, and the cure.
    """
    problems = _target_problems(data, facts) if targets else []
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
    problems += data.incompatibilities(facts)
    if problems:
        raise InputError(problems)


def warn_of_known_patients(data: ImageDataModule, run: RunFolder, doubtful: str) -> None:
    """Warn of patients whose ids are among the run's; only the user knows whether they are the same.

    Args:
        data: set up, and not the run's own.
        run: with the training and validation patients.
        doubtful: subject and verb of what would be too good if they are the same.
    """
    split = load_run_split(run.path / SPLIT)
    trained = set(split.loc[split["split"].isin(["train", "val"]), "group_id"])
    known = trained & set(data.table["group_id"].astype(str))
    if known:
        logger.warning(
            "%d patients have the ids of patients that the run was trained on. If they are the same, %s too good.",
            len(known),
            doubtful,
        )


def _target_problems(data: ImageDataModule, facts: Facts) -> list[str]:
    if data.source.task != facts.task:
        cure = (
            "add labels to evaluate it, or use vesalius embed"
            if data.source.task == "unlabelled"
            else "use targets of the same kind"
        )
        return [f"data: the task is {data.source.task}, but the run was trained for {facts.task}: {cure}."]
    if data.source.classes != facts.classes:
        return [
            f"data: the classes are {', '.join(data.source.classes)}, but the run was trained on "
            f"{', '.join(facts.classes)}: map them, for example with data.source.classes=[...]."
        ]
    return []
