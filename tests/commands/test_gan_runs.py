"""GANs as a user trains them: over two processes, and judged again alike."""

import json

import pandas as pd
import pytest

SMALL = ["data=lesions", "data.source.patients=40", "data.source.image_size=28", "logger=none", "hydra.run.dir=run"]
TWO = ["trainer=ddp_cpu", "trainer.max_epochs=2"]
WIDTHS = ["model.generator.width=8", "model.critic.width=8"]


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("gan", WIDTHS),
        pytest.param("dcgan", [*WIDTHS, "precision=bf16"], marks=pytest.mark.proof),
        pytest.param("article_gan", ["data.channels=1"], marks=pytest.mark.proof),
    ],
)
def test_each_preset_trains_over_two_processes(vesalius, tmp_path, model, options):
    done = vesalius("train", *SMALL, *TWO, f"model={model}", *options)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"real", "augmented", "pca_gaussian"} == set(metrics["baselines"])
    assert metrics["extractor"]["name"] == "random"
    history = pd.read_csv(folder / "history.csv")
    assert len(history) == 2
    # A step of the generator a batch, however many processes share it.
    batches = -(-int((pd.read_csv(folder / "split.csv")["split"] == "train").sum()) // 32)
    assert history["step"].tolist() == [batches, 2 * batches]
    assert (folder / "logs" / "rank1.log").is_file()
    assert len(list((folder / "samples").glob("epoch_*.png"))) == 2
