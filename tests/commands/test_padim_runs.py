"""PaDiM from the command line: resumed within its only pass, verified, exported, and found again by `predict`."""

import numpy as np
import pandas as pd
import pytest
import torch

from small_runs import train_in
from vesalius.commands.train import train
from vesalius.config.compose import load_config
from vesalius.deploy import load
from vesalius.deploy.bundle.export import export_run
from vesalius.evaluation.verification import verify
from vesalius.runs.run_folder import RunFolder
from vesalius.training import session
from vesalius.training.checkpoints import load_checkpoint, restore_model

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("padim_runs")]

OVERRIDES = ["experiment=lesions_padim", "data.source.patients=64", "data.source.slices=2", "data.batch_size=4"]
OVERRIDES += ["data.source.image_size=32", "trainer=cpu", "logger=none", "callbacks.last.every_n_steps=1"]
OVERRIDES += ["model.net.weights=null", "model.preprocess.image_size=64"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train_in(tmp_path_factory.mktemp("padim") / "whole", OVERRIDES)


def weights(folder, name):
    return torch.load(folder.checkpoints / f"{name}.ckpt", weights_only=True)["state_dict"]


def test_one_pass_stopped_and_resumed_ends_with_the_same_bits(whole, monkeypatch, tmp_path):
    class Stop(RuntimeError):
        pass

    class Stopper(session.EpochProgress):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if batch_idx == 1:
                raise Stop

    folder = RunFolder.create(tmp_path / "run", load_config("train", OVERRIDES), OVERRIDES)
    with monkeypatch.context() as patch:
        patch.setattr(session, "EpochProgress", Stopper)
        with pytest.raises(Stop):
            train(folder.path)
    assert 0 < weights(folder, "last")["count"] < weights(whole, "last")["count"]
    train(folder.path)
    for name in ("best", "last"):
        ours, theirs = weights(folder, name), weights(whole, name)
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert folder.metrics == whole.metrics


def test_its_numbers_are_those_of_its_table(whole):
    metrics, table = whole.metrics, pd.read_csv(whole.predictions / "test.csv")
    assert metrics["task"] == "anomaly"
    from sklearn.metrics import roc_auc_score

    unusual, score = table["normal"] == 0, table["anomaly/score"]
    assert (unusual == (table["target"] != 0)).all()
    assert metrics["test"]["auroc"]["value"] == pytest.approx(roc_auc_score(unusual, score))
    nodule = table[table["target"] < 2]
    expected = roc_auc_score(nodule["target"], nodule["anomaly/score"])
    assert metrics["test"]["auroc/nodule"]["value"] == pytest.approx(expected)
    assert metrics["test"]["peak_in_mask"]["n"] == int(unusual.sum())
    assert set(metrics["baselines"]) == {"pca_error"}
    found = verify(whole, load_checkpoint(whole.best))
    assert not found.problems
    assert found.numbers > 10


def test_a_bundle_gives_the_scores_of_the_run(whole, tmp_path):
    pytest.importorskip("onnxruntime")
    export_run(whole.path, tmp_path / "bundle")
    images = list(np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8))
    tables = [load(folder).predict(images) for folder in (whole.path, tmp_path / "bundle")]
    np.testing.assert_allclose(tables[1]["score"], tables[0]["score"], rtol=1e-4)
    model = restore_model(load_checkpoint(whole.best))
    with torch.inference_mode():
        expected = model(torch.from_numpy(np.stack(images)[:, None])).amax(dim=(1, 2))
    np.testing.assert_allclose(tables[0]["score"], expected, rtol=1e-4)


def test_on_other_data_the_normal_classes_are_those_of_the_run(whole, warm_vesalius_in, tmp_path):
    other = ["data=lesions", "data.source.seed=5", "data.source.patients=32", "data.source.image_size=32"]
    run = f"run={whole.path}"
    done = warm_vesalius_in(tmp_path, "evaluate", run, *other, f"hydra.run.dir={tmp_path / 'other'}")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "other/predictions/test.csv")
    assert (table["normal"] == (table["target"] == 0)).all()
    assert RunFolder(tmp_path / "other").metrics["test"]["auroc"]["value"] is not None
