"""Autoencoders from the command line: compared to PCA, probed, embedded, handed over, and as anomaly detectors."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from vesalius.runs.run_folder import RunFolder

pytestmark = pytest.mark.xdist_group("autoencoder_runs")  # its runs are made once

DATA = ["data=lesions", "data.source.patients=48", "data.source.slices=2", "data.source.image_size=28"]
SMALL = ["trainer=cpu", "trainer.max_epochs=2", "logger=none", "data.batch_size=16"]
NET = ["model=autoencoder", "data/augment=none", "model.net.latent_dim=6", "model.net.encoder.widths=[8,16]"]
NET += ["model.net.encoder.blocks=1", "model.net.decoder.width=8"]
PROBES = {f"{features}_{probe}" for features in ("latent", "pca", "random", "pixels") for probe in ("logistic", "knn")}


@pytest.fixture(scope="module")
def vesalius_in(warm_vesalius_in):
    return warm_vesalius_in


@pytest.fixture(scope="module")
def trained(vesalius_in, tmp_path_factory):
    """A run, and what was printed."""
    place = tmp_path_factory.mktemp("autoencoder")
    done = vesalius_in(place, "train", *DATA, *SMALL, *NET, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    return RunFolder(place / "run"), done.stdout


def test_it_is_compared_to_as_many_principal_components(trained):
    folder, printed = trained
    metrics = folder.metrics
    assert metrics["task"] == "reconstruction"
    assert metrics["monitor"]["name"] == "val/loss"
    table, pca = (pd.read_csv(folder.predictions / name) for name in ("test.csv", "baselines/pca.csv"))
    for name in ("psnr", "ssim", "mse"):
        entry, other = metrics["test"][name], metrics["baselines"]["pca"]
        assert entry["value"] == pytest.approx(table[name].mean())
        assert entry["ci95"][0] < entry["value"] < entry["ci95"][1]
        assert other[f"{name}_difference"]["value"] == pytest.approx((table[name] - pca[name]).mean())
    assert metrics["test"]["psnr"]["value"] > metrics["test"]["psnr"]["no_skill"]
    assert "psnr" in printed
    figures = {path.stem for path in folder.figures.glob("*.png")}
    assert {"reconstructions", "latent_map", "walk", "history"} <= figures


def test_features_are_probed_with_cheap_ones_at_every_part_of_the_labels(trained):
    folder, printed = trained
    probes = folder.metrics["probes"]
    assert list(probes) == ["1%", "5%", "10%", "100%"]
    for arms in probes.values():
        assert set(arms) == PROBES
        for arm, entries in arms.items():
            assert ("auroc_difference" in entries) != arm.startswith("latent")
            assert entries["auroc"]["groups"] == folder.metrics["test"]["psnr"]["groups"]
    assert "latent_logistic" in printed


def test_features_of_embed_are_those_of_the_encoder_that_metrics_name(trained, vesalius_in):
    from vesalius.training.checkpoints import load_checkpoint, restore_model

    folder, _ = trained
    done = vesalius_in(folder.path.parent, "embed", "run=run")
    assert done.returncode == 0, done.stderr
    told = json.loads(next(folder.path.glob("embeddings/*/features.json")).read_text())
    assert told["extractor"] == folder.metrics["extractor"]
    table = pd.read_csv(next(folder.path.glob("embeddings/*/features.csv"))).set_index("sample_id")
    assert set(table["split"]) == {"train", "val", "test"}
    from vesalius.data.sources.lesions import Lesions

    source = Lesions(patients=48, slices=2, image_size=28)
    rows = source.samples().set_index("sample_id").loc[table.index[table["split"] == "val"]]
    image = torch.from_numpy(np.stack([source.load(row) for row in rows.to_dict("records")]))
    with torch.no_grad():
        eager = restore_model(load_checkpoint(folder.best)).embed({"image": image}).numpy()
    np.testing.assert_allclose(table.loc[rows.index].filter(regex="^f[0-9]").to_numpy(), eager, atol=1e-6)


def test_evaluate_gives_the_same_numbers_again(trained, vesalius_in):
    folder, _ = trained
    done = vesalius_in(folder.path.parent, "evaluate", "run=run", "evaluation.baselines=true")
    assert done.returncode == 0, done.stderr
    assert "Equal to the run's own test metrics." in done.stdout


@pytest.mark.slow
def test_its_encoder_starts_a_classifier_and_compare_measures_the_gain(trained, vesalius_in):
    folder, _ = trained
    place = folder.path.parent
    options = ["data.split_file=run/split.csv", "data.train_fraction=0.5", "hydra.sweep.dir=arms"]
    cnn = ["model=cnn", "model.net.widths=[8,16]", "model.net.blocks=1", "init_from=null,run", "seed=0,1"]
    done = vesalius_in(place, "train", "-m", *DATA, *SMALL, *cnn, *options)
    assert done.returncode == 0, done.stderr
    assert "net.head.weight" in done.stderr  # what did not come from the encoder is said
    compared = vesalius_in(place, "compare", "runs=arms", "by=init_from", "baselines=[logistic_pca]")
    assert compared.returncode == 0, compared.stderr
    told = json.loads(next(place.glob("runs/comparisons/*/compare.json")).read_text())
    assert {"none", "run", "logistic_pca"} <= set(json.dumps(told).replace('"', " ").split())
    assert "auroc" in compared.stdout


def test_trained_only_on_the_healthy_it_scores_the_others(vesalius_in, tmp_path):
    done = vesalius_in(tmp_path, "train", *DATA, *SMALL, *NET, "data.train_classes=[healthy]", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    folder = RunFolder(tmp_path / "run")
    anomaly = folder.metrics["anomaly"]
    assert set(anomaly) == {"reconstruction_error", "latent_mahalanobis"}
    assert {"auroc", "auroc/nodule", "auroc/spiculated", "peak_in_mask"} <= set(anomaly["reconstruction_error"])
    table, split = pd.read_csv(folder.predictions / "test.csv"), pd.read_csv(folder.path / "split.csv")
    assert table["anomaly/reconstruction_error"].notna().all()
    assert folder.metrics["probes"] == {}
    labels = dict(zip(table["sample_id"], table["target"], strict=True))
    assert set(labels.values()) == {0, 1, 2, 3}
    assert (split["split"] == "unused").any()
    assert (folder.figures / "error_maps.png").is_file()
    from sklearn.metrics import roc_auc_score

    oracle = roc_auc_score(table["target"] > 0, table["anomaly/reconstruction_error"])
    assert anomaly["reconstruction_error"]["auroc"]["value"] == pytest.approx(oracle)
