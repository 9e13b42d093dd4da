"""Features of every family: what they are, that each sample has its own, and that a table of them is whole."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from vesalius.config.errors import InputError, RunFailed
from vesalius.config.facts import Facts
from vesalius.data.datamodules.classification import ClassificationData
from vesalius.data.datamodules.sequence import SequenceData
from vesalius.data.sources.lesions import Lesions
from vesalius.data.sources.perfusion import Perfusion
from vesalius.evaluation.embedding import every_sample, extractor_hash, feature_batches, write_features
from vesalius.models.classifier import CNNClassifier
from vesalius.models.losses.classification import ClassificationLoss
from vesalius.models.losses.task import build_task_loss
from vesalius.models.nets.preprocess import Preprocess
from vesalius.models.nets.residual import SmallResNet
from vesalius.models.nets.series.recurrent import RecurrentNet
from vesalius.models.sequence import SequenceClassifier

CPU = torch.device("cpu")
ENCODER = partial(SmallResNet, widths=[4, 8], blocks=1)
SINGLE_IMAGES = "vesalius.data.ClassificationData"


def classifier(facts, **changes):
    torch.manual_seed(0)
    parts = {
        "net": ENCODER,
        "loss": ClassificationLoss,
        "optimizer": torch.optim.AdamW,
        "preprocess": partial(Preprocess, mean="data", std="data"),
    }
    return CNNClassifier(facts, **(parts | changes)).eval()


def recurrent(facts, **options):
    torch.manual_seed(0)
    net = partial(RecurrentNet, encoder=ENCODER, input_size=8, hidden_size=6, **options)
    return SequenceClassifier(facts, net, build_task_loss, torch.optim.AdamW, Preprocess).eval()


@pytest.fixture(scope="module")
def images(cache_dir):
    data = ClassificationData(
        Lesions(patients=32, slices=2, image_size=28), train_fraction=0.5, eval_batch_size=10, cache_dir=str(cache_dir)
    )
    data.setup()
    return data


@pytest.fixture(scope="module")
def series(cache_dir):
    source = Perfusion(patients=32, frames=6, image_size=28, variable_length=True, irregular=True)
    data = SequenceData(source, eval_batch_size=10, cache_dir=str(cache_dir))
    data.setup()
    return data


def gathered(model, data):
    rows, features = zip(*feature_batches(model, data, CPU), strict=True)
    return np.concatenate(rows), np.concatenate(features)


@torch.inference_mode()
def test_the_head_maps_an_images_features_to_the_models_output(images):
    model = classifier(images.facts, test_time_flips=["horizontal"])
    batch = next(iter(images.loader("train")))
    features = model.embed(batch)
    assert features.shape == (10, model.net.feature_dim)
    torch.testing.assert_close(model.net.head(features), model(batch["image"]))


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
@pytest.mark.parametrize("bidirectional", [False, True])
@torch.inference_mode()
def test_the_head_maps_a_series_features_to_the_models_output(series, pooling, bidirectional):
    model = recurrent(series.facts, pooling=pooling, bidirectional=bidirectional)
    batch = next(iter(series.loader("train")))
    assert not batch["mask"].all()
    features = model.embed(batch)
    assert features.shape == (10, 12 if bidirectional else 6)
    torch.testing.assert_close(model.net.head(features), model(batch["image"], batch["mask"], batch["time"]))


def test_every_image_has_its_features_once_unused_ones_too(images):
    model = classifier(images.facts)
    rows, features = gathered(model, images)
    splits = images.table["split"].to_numpy()[rows]
    assert sorted(rows) == list(range(64))
    assert list(dict.fromkeys(splits)) == ["train", "val", "test", "unused"]
    with torch.inference_mode():
        alone = torch.cat([model.embed({"image": images.store[torch.tensor([row])]}) for row in rows.tolist()])
    np.testing.assert_allclose(features, alone.numpy(), atol=1e-6)


def test_the_features_of_a_series_do_not_depend_on_its_batch(series):
    model = recurrent(series.facts)
    rows, features = gathered(model, series)
    with torch.inference_mode():
        alone = torch.cat([model.embed(series.dataset[torch.tensor([row])]) for row in rows.tolist()])
    np.testing.assert_allclose(features, alone.numpy(), atol=1e-6)


def test_dropout_and_batch_norm_are_those_of_evaluation(images):
    model = classifier(images.facts)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = gathered(model, images)[1]
    np.testing.assert_array_equal(gathered(model.train(), images)[1], expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_models_without_features_are_refused(images):
    plain = classifier(images.facts, net=nn.Sequential(nn.Flatten(), nn.Linear(784, 4)))
    with pytest.raises(InputError, match="inherit from"):
        gathered(plain, images)
    with pytest.raises(InputError, match="Linear gives no features: let it define embed"):
        gathered(nn.Linear(1, 1), images)


def test_features_that_are_no_numbers_are_never_written(images, tmp_path):
    model = classifier(images.facts)
    model.net.stem[0].weight.data.fill_(float("nan"))
    with pytest.raises(RunFailed, match="10 samples are not finite: p0"):
        write_features(feature_batches(model, images, CPU), images.table, tmp_path / "features.csv")
    assert not list(tmp_path.iterdir())


def made_table(count):
    return pd.DataFrame(
        {
            "sample_id": [f'a "quoted", {i}' for i in range(count)],
            "group_id": [f"{i:03d}" for i in range(count)],
            "split": "test",
            "subgroup": "old",
            "target/volume": np.random.default_rng(0).normal(size=count),
            "_times": [[0.0, 1.0]] * count,
        }
    )


def test_a_table_gives_back_what_was_written(tmp_path):
    table, random = made_table(7), np.random.default_rng(1)
    # Over the range of 32-bit floats, where six digits or a fixed number of decimals would not do.
    features = (random.normal(size=(7, 5)) * 10.0 ** random.integers(-30, 30, (7, 5))).astype(np.float32)
    batches = [(np.array([6, 2, 1]), features[[6, 2, 1]]), (np.array([0, 3, 4, 5]), features[[0, 3, 4, 5]])]
    assert write_features(batches, table, tmp_path / "features.csv") == (7, 5)
    read = pd.read_csv(tmp_path / "features.csv", dtype={"group_id": str})
    assert list(read) == ["sample_id", "group_id", "split", "target/volume", *(f"f{i}" for i in range(5))]
    order = [6, 2, 1, 0, 3, 4, 5]
    pd.testing.assert_frame_equal(read.iloc[:, :4], table.iloc[order, [0, 1, 2, 4]].reset_index(drop=True), rtol=1e-14)
    np.testing.assert_array_equal(read.iloc[:, 4:].to_numpy().astype(np.float32), features[order])


def test_a_table_that_breaks_off_leaves_nothing_and_replaces_nothing(tmp_path):
    path = tmp_path / "features.csv"
    path.write_text("whole\n")

    def broken():
        yield np.arange(3), np.zeros((3, 2), dtype=np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_features(broken(), made_table(5), path)
    assert path.read_text() == "whole\n"
    assert list(tmp_path.iterdir()) == [path]


def test_the_hash_is_that_of_the_encoder_and_not_of_where_things_lie(images):
    config = {"net": {"weights": "/home/somebody/weights.pt", "widths": [4, 8]}}
    elsewhere = {"net": {"weights": "/data/weights.pt", "widths": [4, 8]}}
    model = classifier(images.facts)
    known = extractor_hash(model, config)
    assert len(known) == 32
    assert extractor_hash(classifier(images.facts, channels_last=False), elsewhere) == known
    assert extractor_hash(model, {"net": {**config["net"], "widths": [4, 9]}}) != known
    brighter = Facts.from_dict({**images.facts.to_dict(), "mean": [0.9]})  # the same weights see other numbers
    assert extractor_hash(classifier(brighter), config) != known
    with torch.no_grad():
        next(model.parameters()).view(-1)[3] += 1e-6
    assert extractor_hash(model, config) != known


def node(cache_dir, target, **source):
    return {
        "_target_": target,
        "source": {"_target_": "vesalius.data.sources.Lesions", "patients": 16, "image_size": 28, **source},
        "cache_dir": str(cache_dir),
        "sampling": "balanced",
        "shuffle_labels": True,
    }


def test_any_targets_are_accepted_and_written_unchanged(images, cache_dir):
    data = every_sample(node(cache_dir, SINGLE_IMAGES), images.facts)
    data.setup("test")
    assert isinstance(data, ClassificationData)
    assert set(data.table["split"]) == {"test"}
    true = data.source.samples()
    pd.testing.assert_series_equal(data.table["target"], true["target"])  # the run's control is not the data's truth
    one_class = every_sample(node(cache_dir, SINGLE_IMAGES), images.facts)
    one_class.source.samples = lambda: true[true["target"] == 1]
    one_class.setup("test")
    assert 0 < len(one_class.table) < len(true)
    quantities = every_sample(node(cache_dir, SINGLE_IMAGES), images.facts)
    quantities.source.task, quantities.source.classes = "regression", ("size",)
    quantities.source.samples = lambda: true.drop(columns="target").assign(**{"target/size": 1.0})
    quantities.setup("test")
    rows, _ = gathered(classifier(images.facts), quantities)
    assert len(rows) == len(true)


def test_samples_without_labels_will_do(images, cache_dir):
    data = every_sample(node(cache_dir, SINGLE_IMAGES), images.facts)
    data.source.task, data.source.classes = "unlabelled", ()
    labelled = data.source.samples()
    data.source.samples = lambda: labelled.drop(columns="target")
    data.setup("test")
    assert len(gathered(classifier(images.facts), data)[0]) == len(labelled)


def test_series_and_images_are_not_confused(images, series, cache_dir):
    with pytest.raises(InputError, match="takes series"):
        every_sample(node(cache_dir, "vesalius.data.SequenceData"), series.facts)
    frames = {"_target_": "vesalius.data.sources.Perfusion", "patients": 16}
    with pytest.raises(InputError, match="takes single images"):
        every_sample({"_target_": SINGLE_IMAGES, "source": frames}, images.facts)


MANY = """
import sys
from functools import partial
from pathlib import Path
import numpy as np, pandas as pd, torch
from torch import nn
from vesalius.config.facts import Facts
from vesalius.data.datamodules.classification import ClassificationData
from vesalius.data.sources.base import Source
from vesalius.models.classifier import CNNClassifier
from vesalius.models.losses.classification import ClassificationLoss
from vesalius.models.nets.base import Net
from vesalius.models.nets.preprocess import Preprocess
from vesalius.evaluation.embedding import feature_batches, write_features

count, dim, size, folder = int(sys.argv[1]), int(sys.argv[2]), 16, Path(sys.argv[3])

class Made(Source):
    task, classes = "binary", ("healthy", "ill")

    def samples(self):
        number = np.arange(count)
        names = [f"image{i:06d}" for i in number]
        return pd.DataFrame({"sample_id": names, "group_id": names, "split": None, "target": number % 2})

    def load(self, row):
        return np.full((1, size, size), int(row["sample_id"][-2:]), dtype=np.uint8)

    def fingerprint(self):
        return f"{count} images"

class Wide(Net):
    def __init__(self, in_channels, num_outputs):
        super().__init__()
        self.feature_dim, self.head = dim, nn.Linear(dim, num_outputs)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(size * size, dim))

    def features(self, x):
        return self.body(x)

def anonymous():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024

facts = Facts("binary", ("healthy", "ill"), 1, (size, size), 255.0, (9, 9), 18, (0.4,), (0.2,))
model = CNNClassifier(facts, Wide, ClassificationLoss, torch.optim.AdamW, Preprocess)
data = ClassificationData(Made(), cache_dir=str(folder), memory_limit_gb=1e-9)
data.setup("test")
seen = []

def watched():
    for batch in feature_batches(model, data, torch.device("cpu")):
        yield batch
        seen.append(anonymous())

rows, _ = write_features(watched(), data.table, folder / "features.csv")
print(rows, max(seen) - seen[len(seen) // 10])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.benchmark
def test_fifty_thousand_images_take_no_more_memory_than_five_thousand(tmp_path):
    count, dim = 50_000, 256
    command = [sys.executable, "-c", MANY, str(count), str(dim), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    rows, growth = done.stdout.split()
    print(f"{rows} images, {dim} features: RssAnon grows by {float(growth):.1f} MiB after the first tenth")
    assert int(rows) == count
    assert float(growth) < 0.9 * count * dim * 4 / 2**20 / 4  # a quarter of what the later features would take
    with (tmp_path / "features.csv").open() as file:
        assert sum(1 for _ in file) == count + 1
