"""The figures of docs/results.md on sweeps, printed by the commands that it names (`make proof`)."""

import json

import optuna
import pandas as pd
import pytest

from vesalius.sweeps.search.journal import JOURNAL, open_journal

EPOCHS = 16
ARGUMENTS = [
    "-m",
    "experiment=lesions_cnn",
    "model=cnn_wide",
    "model/schedule=cosine",  # no warm-up, in which epochs would tell nothing
    "data.source.patients=400",
    "data.source.slices=2",
    "data.source.image_size=40",
    f"trainer.max_epochs={EPOCHS}",
    "trainer=cpu",
    "logger=none",
    "evaluation.baselines=false",
    "hydra/sweeper=vesalius_optuna",
    "hydra.sweeper.n_trials=12",
    "hydra.sweeper.sampler=random",  # so that both sweeps try the same twelve
    "model.optimizer.lr=tag(log, interval(1e-5, 1))",
    "model.net.dropout=interval(0, 0.5)",
]


@pytest.mark.proof
def test_pruning_saves_a_third_of_the_epochs_and_loses_nothing(vesalius, tmp_path):
    epochs, best, trials = {}, {}, {}
    for pruner in ("none", "median"):
        folder = tmp_path / pruner
        done = vesalius(
            "train", *ARGUMENTS, f"hydra.sweeper.pruner={pruner}", f"hydra.sweep.dir={folder}", timeout=1800
        )
        assert done.returncode == 0, done.stderr
        trials[pruner] = optuna.load_study(study_name="study", storage=open_journal(folder / JOURNAL)).trials
        epochs[pruner] = sum(len(pd.read_csv(path)) for path in folder.glob("*/history.csv"))
        number = json.loads((folder / "sweep.json").read_text())["study"]["best"]
        best[pruner] = json.loads((folder / str(number) / "metrics.json").read_text())["val"]["auroc"]
        states = [trial.state.name for trial in trials[pruner]]
        value, (low, high) = best[pruner]["value"], best[pruner]["ci95"]
        print(
            f"pruner={pruner}: {epochs[pruner]} epochs, {states.count('PRUNED')} of 12 trials pruned, "
            f"best val auroc {value:.3f} [{low:.3f}, {high:.3f}] in trial {number}"
        )
    saved = 1 - epochs["median"] / epochs["none"]
    print(f"the median pruner saved {saved:.0%} of {epochs['none']} epochs")
    assert [trial.params for trial in trials["none"]] == [trial.params for trial in trials["median"]]
    assert epochs["none"] == 12 * EPOCHS
    assert saved >= 0.30
    low, high = best["none"]["ci95"]
    assert low <= best["median"]["value"] <= high
