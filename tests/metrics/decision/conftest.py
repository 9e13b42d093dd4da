"""Patients whose samples are alike, and a net whose logits are off by a known temperature."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

Make = Callable[..., pd.DataFrame]


@pytest.fixture
def sample_table() -> Make:
    return sample_patients


def sample_patients(
    seed: int,
    *,
    patients: int = 200,
    per: int = 1,
    classes: int = 3,
    temperature: float = 1.0,
    skill: float = 2.0,
    alike: float = 0.7,
    task: str = "multiclass",
) -> pd.DataFrame:
    """A predictions table whose truth is drawn from softmax(z), and whose probabilities are softmax(z x temperature).

    `alike` is the share of a patient's samples that its logits and its draws have in common; a multilabel task takes
    sigmoids in place of the softmax.
    """
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), per)

    def mixed(*shape: int) -> np.ndarray:
        common, own = rng.normal(size=(patients, *shape))[groups], rng.normal(size=(len(groups), *shape))
        return np.sqrt(alike) * common + np.sqrt(1 - alike) * own

    logits = skill * mixed(classes)
    table = pd.DataFrame({"sample_id": [f"s{i}" for i in range(len(groups))], "group_id": [f"p{g}" for g in groups]})
    names = [f"c{k}" for k in range(classes)]
    if task == "multilabel":
        truth = rng.logistic(size=logits.shape) < logits
        table[[f"target/{name}" for name in names]] = truth.astype(int)
        shown = 1 / (1 + np.exp(-logits * temperature))
    else:
        # The class of the largest sum with Gumbel noise has softmax(logits) as its probability.
        table["target"] = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        powers = np.exp(logits * temperature - (logits * temperature).max(axis=1, keepdims=True))
        shown = powers / powers.sum(axis=1, keepdims=True)
    table[[f"prob/{name}" for name in names]] = shown
    return table
