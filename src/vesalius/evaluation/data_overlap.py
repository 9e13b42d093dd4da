"""Whether weights, pretrained or from other runs, have learned from images that a run is evaluated on."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vesalius.config.errors import InputError
from vesalius.data.splits.file import load_run_split
from vesalius.evaluation.feature_extractors import IMAGENET
from vesalius.runs.run_folder import CONFIG, SPLIT, RunFolder

logger = logging.getLogger("vesalius")

# Options of a source: where they differ, equal names belong to other images.
_POPULATION = ("_target_", "seed", "name")
# Names of one data set.
_SAME = (
    ("ImageNet-1k", "ImageNet", "ILSVRC2012", "ImageNet-2012"),
    ("BUSI", "breastmnist"),
    ("ChestX-ray14", "NIH ChestX-ray14", "NIH-CXR14", "ChestX-ray8", "chestmnist"),
    ("HAM10000", "ISIC 2018", "dermamnist"),
    ("NCT-CRC-HE-100K", "pathmnist"),
    ("Kermany OCT2017", "OCT2017", "octmnist"),
    ("Kermany chest X-ray", "pneumoniamnist"),
    ("DeepDRiD", "retinamnist"),
    ("PBC (Acevedo et al. 2020)", "bloodmnist"),
    ("BBBC051", "tissuemnist"),
    ("LiTS", "organamnist", "organcmnist", "organsmnist", "organmnist3d"),
    ("LIDC-IDRI", "nodulemnist3d"),
    ("RibFrac", "fracturemnist3d"),
    ("IntrA", "vesselmnist3d"),
)


def check_data_overlap(
    key: str, named: str | None, table: pd.DataFrame, source: Mapping[str, Any], fingerprint: str
) -> None:
    """Refuse a run whose weights, or those it started from, have learned from images that this run is evaluated on.

    Args:
        key: of the config, that names the other run.
        named: folder of the other run; nothing is known, and all is accepted, of a file of weights, `imagenet` or None.
        table: the sample table of this run, with its `split`.
        source: this run's `data.source`. Runs on another kind of source, another phantom or another public set have
            other data, whatever their samples are called; so have runs on other files in another folder, with a
            warning.
        fingerprint: of this run's data.

    Raises:
        InputError: where validation or test images of this run are among the training images of the other.
    """
    evaluated = set(table.loc[table["split"].isin(["val", "test"]), "sample_id"].astype(str))
    for run in _lineage(named):
        other = run.config["data"]["source"]
        if any(source.get(one) != other.get(one) for one in _POPULATION):
            continue
        split = load_run_split(run.path / SPLIT)
        seen = len(evaluated & set(split.loc[split["split"] == "train", "sample_id"]))
        if seen and _folder_of(source) != _folder_of(other) and run.provenance.get("data") != fingerprint:
            logger.warning(
                "%s=%s: %d of this run's validation or test images have the names of images that %s has learned from; "
                "being other files in another folder, they are taken for other images.",
                *(key, named, seen, run.path),
            )
        elif seen:
            it = "it" if str(run.path) == named else f"its weights started from those of {run.path}, which"
            raise InputError(
                f"{key}={named}: {it} has learned from {seen} of this run's validation or test images: give this run "
                f"that split (data.split_file={run.path}/split.csv), or train another one."
            )


def _folder_of(source: Mapping[str, Any]) -> Any:
    return source.get("root") or source.get("manifest") or source.get("file")


def _lineage(named: str | None) -> Iterator[RunFolder]:
    """The run, the run that it started from, and so on."""
    first = named
    while named is not None and named != IMAGENET and not Path(named).is_file():
        if named != first and not (Path(named) / CONFIG).is_file():
            logger.warning(
                "%s started from the weights of a run that is gone: its training images are not known.", first
            )
            return
        run = RunFolder(named)
        yield run
        named = run.config["init_from"]


def find_contamination(weights: Sequence[Mapping[str, Any]], data_sets: Sequence[str]) -> list[str]:
    """One sentence for each set of weights that learned from a data set under any of its names.

    Args:
        weights: records, as `provenance.json` keeps them.
        data_sets: public names of the evaluated data.
    """
    return list(dict.fromkeys(_sentences(weights, data_sets)))


def _sentences(weights: Sequence[Mapping[str, Any]], data_sets: Sequence[str]) -> Iterator[str]:
    evaluated = {key: name for name in data_sets for key in _keys(name)}
    for record in weights:
        for trained_on in record.get("trained_on") or ():
            if name := next((evaluated[key] for key in _keys(str(trained_on)) if key in evaluated), None):
                which = f"weights {record.get('name')} of {record.get('architecture')}"
                yield f"The {which} learned from {trained_on}, and these data are {name}: what rests on them flatters."
                break


def _keys(name: str) -> set[str]:
    """The name, and others of the same data set, without case and punctuation."""
    own = _plain(name)
    return {own}.union(*({*map(_plain, names)} for names in _SAME if own in map(_plain, names)))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
