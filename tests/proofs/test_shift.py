"""The sentinel on fresh phantom patients: silent where nothing has changed, and heard where classes are more frequent.

One network, trained once. Each seed draws patients that it has never met: as in training, and with healthy ones three
times as frequent. Run with `pytest -m proof -s tests/proofs/test_shift.py`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

import vesalius
from small_runs import train_in
from vesalius.data.sources.lesions import Lesions
from vesalius.deploy.inputs import ModelInput
from vesalius.deploy.predictor import Predictor
from vesalius.deploy.shift import ShiftMonitor
from vesalius.metrics.classification.metrics import classification_metrics
from vesalius.metrics.decision.prior_shift import estimate_priors, shift_priors
from vesalius.metrics.groups import number_groups
from vesalius.metrics.shift.sentinel import Shift

pytestmark = pytest.mark.proof

SEEDS = range(20)
PATIENTS, SLICES = 120, 2
#: Of healthy, nodule, cyst, spiculated.
USUAL, SHIFTED = (0.25, 0.25, 0.25, 0.25), (0.79, 0.07, 0.07, 0.07)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    overrides = [
        "model=cnn_wide",
        "data.source.patients=400",
        "data.source.slices=2",
        "data.source.image_size=48",
        "trainer=cpu",
    ]
    overrides += ["trainer.max_epochs=16", "logger=none", "evaluation.baselines=false"]
    folder = train_in(tmp_path_factory.mktemp("run") / "run", overrides)
    return vesalius.load(folder.path)


def draw(seed: int, shares: Sequence[float]) -> tuple[list[ModelInput], pd.DataFrame]:
    """Images of patients whose classes have these shares, and whose they are."""
    counts = np.random.default_rng(seed).multinomial(PATIENTS, shares)
    source = Lesions(patients=4 * int(counts.max()) + 4, slices=SLICES, image_size=48, seed=1000 + seed)
    table = source.samples()
    wanted = [table[table["target"] == k].groupby("group_id").head(SLICES) for k in range(4)]
    chosen = pd.concat([rows[: SLICES * count] for rows, count in zip(wanted, counts, strict=True)])
    inputs = [ModelInput(source.load(row)[None], None) for row in chosen.to_dict("records")]
    return inputs, chosen.reset_index(drop=True)[["sample_id", "group_id", "target"]]


def watch(model: Predictor, inputs: list[ModelInput]) -> tuple[Shift, np.ndarray]:
    """What the sentinel finds without labels, and calibrated probabilities."""
    monitor = ShiftMonitor(model.backend)
    tables = list(model.rows(inputs, [""] * len(inputs), observe=monitor.update))
    columns = [f"prob/{name}" for name in model.facts.classes]
    shift = monitor.result()
    assert shift is not None
    return shift, pd.concat(tables)[columns].to_numpy()


def ece(table: pd.DataFrame, probabilities: np.ndarray, model: Predictor) -> tuple[float, list[float]]:
    columns = {f"prob/{name}": probabilities[:, k] for k, name in enumerate(model.facts.classes)}
    scored = classification_metrics(
        table.assign(**columns), task="multiclass", classes=model.facts.classes, names=["ece"]
    )
    return scored["ece"]["value"], scored["ece"]["ci95"]


def test_silent_without_shift_and_fires_with_a_shift_of_prevalence(model: Predictor) -> None:
    priors = model.metrics["calibration"]["priors"]
    alarms, fired, tables, before, after = 0, 0, [], [], []
    for seed in SEEDS:
        usual, _ = watch(model, draw(seed, USUAL)[0])
        alarms += bool(usual.shifted)
        inputs, table = draw(seed, SHIFTED)
        shift, probabilities = watch(model, inputs)
        fired += bool(shift.shifted)
        names = ", ".join(one.name for one in shift.shifted)
        estimated = estimate_priors(probabilities, number_groups(table["group_id"]), priors, multilabel=False)
        print(f"seed {seed}: without {[one.name for one in usual.shifted]}, with shift: {names}; "
              f"estimated share of healthy {estimated[0]:.2f}")  # fmt: skip
        tables.append(table.assign(sample_id=f"{seed}_" + table["sample_id"], group_id=f"{seed}_" + table["group_id"]))
        before.append(probabilities)
        after.append(shift_priors(probabilities, priors, estimated.tolist(), multilabel=False))
    everyone = pd.concat(tables, ignore_index=True)
    old, new = (ece(everyone, np.concatenate(values), model) for values in (before, after))
    print(f"silent without shift in {len(SEEDS) - alarms} of {len(SEEDS)} seeds, fires with shift in {fired}")
    print(f"ECE under shift {old[0]:.3f} {old[1]}, corrected {new[0]:.3f} {new[1]}")
    assert alarms <= 1
    assert fired >= len(SEEDS) - 1
    assert new[0] < old[0] / 2
