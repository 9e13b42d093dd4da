"""The figures of autoencoders in docs/results.md, printed by the commands that it names (`make proof`)."""

import json
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2].parent / "shared/data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is absent")
BREAST = ["data.source.name=breastmnist", f"data.source.root={SHARED / 'medmnist'}"]
SEEDS = "seed=0,1,2"
SHOWN = ("psnr", "ssim")


@pytest.fixture
def sweep(vesalius, tmp_path):
    """Run a sweep and give the config and the metrics of each run."""

    def run(*overrides):
        import yaml

        done = vesalius("train", "-m", "logger=none", *overrides, timeout=7200)
        assert done.returncode == 0, done.stderr
        folders = sorted(path.parent for path in tmp_path.glob("runs/*/*/*/metrics.json"))
        return [
            (yaml.safe_load((folder / "config.yaml").read_text()), json.loads((folder / "metrics.json").read_text()))
            for folder in folders
        ]

    return run


def said(metric):
    low, high = metric["ci95"]
    return f"{metric['value']:.3f} [{low:.3f}, {high:.3f}]"


def beside_pca(runs):
    """Dimension, and the paired differences of PSNR and SSIM from PCA, printed."""
    for config, metrics in runs:
        dim, pca = config["model"]["net"]["latent_dim"], metrics["baselines"]["pca"]
        told = {name: (said(metrics["test"][name]), said(pca[name]), said(pca[f"{name}_difference"])) for name in SHOWN}
        print(f"latent_dim {dim}, seed {config['seed']}: model, PCA, model minus PCA: {told}")
        yield dim, pca["psnr_difference"], pca["ssim_difference"]


@pytest.mark.proof
def test_on_the_phantom_it_reconstructs_better_than_as_many_principal_components(sweep):
    for dim, *differences in beside_pca(sweep("experiment=ae_rate_distortion", SEEDS, "evaluation.probes=false")):
        assert all(difference["value"] > 0 for difference in differences)
        assert dim > 16 or all(difference["ci95"][0] > 0 for difference in differences)


@pytest.mark.proof
@needs_data
def test_on_small_radiographs_it_never_falls_below_principal_components_and_is_probed(sweep):
    runs = sweep("experiment=medmnist_autoencoder", *BREAST, SEEDS, "model.net.latent_dim=8,16,32,64")
    for _, *differences in beside_pca(runs):
        assert all(difference["value"] >= 0 for difference in differences)
    for config, metrics in runs:
        if config["model"]["net"]["latent_dim"] == 64:
            arms = metrics["probes"]["100%"]
            told = {arm: said(entry["auroc"]) for arm, entry in arms.items() if arm.endswith("logistic")}
            gains = {arm: said(arms[arm]["auroc_difference"]) for arm in ("pca_logistic", "pixels_logistic")}
            print(f"probe, seed {config['seed']}: {told}; latent minus arm: {gains}")


@pytest.mark.proof
def test_what_was_never_seen_is_unusual_and_shown_where_it_is(sweep):
    for config, metrics in sweep("experiment=ae_anomaly", SEEDS):
        found = metrics["anomaly"]["reconstruction_error"]
        told = {name: said(found[name]) for name in ("auroc", "auroc/nodule", "auroc/spiculated", "peak_in_mask")}
        print(f"ae_anomaly, seed {config['seed']}: {told}")
        assert found["auroc/nodule"]["value"] >= 0.90
        assert found["auroc/spiculated"]["value"] >= 0.90
        assert found["peak_in_mask"]["value"] >= 0.70
