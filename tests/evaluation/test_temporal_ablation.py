"""Ablations of time for models of image series: what the arms measure, and that none of them costs the run."""

import logging
import re

import numpy as np
import pandas as pd
import pytest
import torch

from vesalius.config.build import build
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError, RunFailed
from vesalius.config.facts import Facts
from vesalius.data.sources.perfusion import Perfusion
from vesalius.evaluation import single_frame, temporal_ablation
from vesalius.evaluation.inference import predict
from vesalius.evaluation.scoring import score_splits
from vesalius.evaluation.single_frame import score_validation
from vesalius.evaluation.supervised import SupervisedResults
from vesalius.evaluation.temporal_ablation import ablate_time, check_ablation, score_arm
from vesalius.metrics.classification.thresholds import choose_threshold
from vesalius.metrics.comparison.paired import paired_difference

CPU = torch.device("cpu")
SMALL = [
    "data=perfusion",
    "model=gru",
    "trainer=cpu",
    "trainer.max_epochs=1",
    "logger=none",
    "data.source.patients=32",
    "data.source.frames=6",
    "data.source.image_size=24",
    "model.net.hidden_size=4",
    "model.net.input_size=4",
    "model.net.encoder.widths=[4]",
]


@pytest.fixture(autouse=True)
def few_places(monkeypatch):
    monkeypatch.setattr(single_frame, "PLACES", (0.0, 1.0))
    monkeypatch.setattr(temporal_ablation, "DROPPED", (50,))
    monkeypatch.setattr(temporal_ablation, "FIRST_FRAMES", 2)


@pytest.fixture
def make(cache_dir, tmp_path):
    """Calls `ablate_time` for an untrained model."""

    def prepare(*overrides):
        config = load_config("train", [*SMALL, f"data.cache_dir={cache_dir}", *overrides])
        data = build(config["data"], "data")
        data.setup()
        torch.manual_seed(0)
        model = build(config["model"], "model", facts=data.facts)

        def find(start=lambda model: None, **options):
            results = SupervisedResults(model, data, data.facts, config, CPU, tmp_path)
            return ablate_time(results, start, **options)

        return find

    return prepare


@pytest.fixture
def trained(monkeypatch):
    """Models and options that the single-frame arm would train with, which takes no time."""
    seen = []

    def skip(model, single, config, work):
        seen.append((model, single))

    monkeypatch.setattr(single_frame, "train_on_frames", skip)
    return seen


def source(**options):
    return Perfusion(patients=16, **options)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["plateu", "washout"], "there is no class 'plateu'. Did you mean 'plateau'"),
        (["washout"], "two classes or more"),
        ([], "two classes or more"),
        (["washout", "plateau", "washout"], "washout is named more than once"),
    ],
)
def test_classes_that_samples_cannot_be_restricted_to_are_refused(classes, message):
    with pytest.raises(InputError, match=r"^evaluation\.evidence_classes=") as caught:
        check_ablation({"evidence": True, "evidence_classes": classes}, source())
    assert message in str(caught.value)
    check_ablation({"evidence": False, "evidence_classes": classes}, source())


def test_classes_that_samples_can_be_restricted_to_pass():
    check_ablation({"evidence": True, "evidence_classes": ["washout", "plateau"]}, source())
    check_ablation({"evidence": True, "evidence_classes": None}, source(target="time_to_peak"))
    with pytest.raises(InputError, match="the task is regression"):
        check_ablation({"evidence": True, "evidence_classes": ["a", "b"]}, source(target="time_to_peak"))


def test_the_single_frame_arm_is_trained_alike_and_names_its_frame(make, tmp_path):
    began = []
    found = make("callbacks=ema", "data.batch_size=1", "trainer.limit_train_batches=3")(start=began.append)
    assert {"model", "time_shuffled", "single_frame", "first_frames/3", "frames_dropped/50"} <= set(found)
    assert len(began) == 1
    for entry in found["single_frame"].values():
        assert re.fullmatch(
            "evaluated on the frame at (0|100) % of each series, chosen by (auroc|accuracy) on validation",
            entry["note"],
        )
        assert {"value", "ci95", "n", "groups", "method", "no_skill"} <= set(entry)
    assert "note" not in found["model"]["auroc"]
    assert not list(tmp_path.iterdir())


def test_the_single_frame_arm_has_the_callbacks_of_the_config_and_one_device(make, monkeypatch):
    given = []

    class Trainer:
        def __init__(self, **options):
            given.append(options)
            raise RuntimeError("stop here")

    real = build

    def build_or_note(config, key, **provided):
        return Trainer(**config, **provided) if key == "trainer" else real(config, key, **provided)

    monkeypatch.setattr(single_frame, "build", build_or_note)
    overrides = ["callbacks=ema", "trainer.devices=4", "trainer.strategy=ddp", "trainer.num_nodes=2"]
    overrides += ["+callbacks.rate={_target_: pytorch_lightning.callbacks.LearningRateMonitor}"]
    find = make(*overrides)
    assert "single_frame" not in find()
    (options,) = given
    assert (options["devices"], options["num_nodes"], options["strategy"]) == (1, 1, "auto")
    names = [type(callback).__name__ for callback in options["callbacks"]]
    assert "EMA" in names
    assert "Checkpoint" in names
    assert "LearningRateMonitor" not in names  # refuses to work without a logger
    assert not options["logger"]


def test_one_frame_per_step_would_be_too_few(make, trained):
    make("data.batch_size=1")()
    assert trained[0][1].batch_size == 2


def test_its_network_starts_from_the_weights_that_start_gives(make, trained):
    def start(model):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.25)

    make()(start=start)
    assert all((parameter == 0.25).all() for parameter in trained[0][0].parameters())


@pytest.mark.parametrize("error", [RunFailed("The loss became nan"), ValueError("more than 1 value per channel")])
def test_an_arm_that_fails_is_left_out_with_a_warning(make, monkeypatch, caplog, error, tmp_path):
    def fail(model, single, config, work):
        raise error

    monkeypatch.setattr(single_frame, "train_on_frames", fail)
    with caplog.at_level(logging.WARNING, "vesalius"):
        found = make()()
    assert "single_frame" not in found
    assert {"model", "time_shuffled"} <= set(found)
    assert f"No ablation single_frame: {type(error).__name__}: {error}" in caplog.text


def test_a_view_that_fails_costs_only_its_own_arm(make, trained, monkeypatch, caplog):
    real = predict

    def fail(model, data, split, facts, device, view=None):
        if view is None:
            raise torch.OutOfMemoryError("too little memory")
        return real(model, data, split, facts, device, view)

    monkeypatch.setattr(temporal_ablation, "predict", fail)
    found = make()()
    assert "model" not in found
    assert "auroc_difference" not in found["time_shuffled"]
    assert "No ablation model: OutOfMemoryError" in caplog.text


def test_one_of_several_processes_does_not_train(make, trained, monkeypatch, caplog):
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = make()()
    assert "single_frame" not in found
    assert "model" in found
    assert not trained
    assert "No ablation single_frame: it is trained by one process" in caplog.text


def table_of(truth, groups=None, seed=0, classes=3):
    random = np.random.default_rng(seed)
    chances = random.dirichlet(np.ones(classes), len(truth))
    table = pd.DataFrame({"sample_id": [f"s{k}" for k in range(len(truth))], "target": truth})
    table.insert(1, "group_id", [f"p{k}" for k in range(len(truth))] if groups is None else groups)
    table[[f"prob/{'abcdef'[k]}" for k in range(classes)]] = chances
    return table


def facts_of(task, classes):
    return Facts(task, tuple(classes), 1, (8, 8), 255.0, (5,) * len(classes), 15, (0.5,), (0.2,))


def test_an_arm_decides_by_its_own_threshold_on_validation():
    facts, rule = facts_of("binary", "ab"), "sensitivity@0.8"
    val, test = (table_of(np.arange(40) % 2, seed=seed, classes=2) for seed in (1, 2))
    own = score_splits({"val": val, "test": test}, facts, rule)
    found = score_arm(test, facts, rule=rule, val=val)
    assert found == {name: own["test"][name] for name in found}
    assert own["decision"] == {"rule": rule, "threshold": choose_threshold(val, rule)}
    assert found["accuracy"] != score_arm(test, facts)["accuracy"]
    # An arm whose scores are a tenth decides the same, and one that counts class a as the positive one otherwise.
    tenth = [
        table.assign(**{"prob/b": table["prob/b"] / 10, "prob/a": 1 - table["prob/b"] / 10}) for table in (val, test)
    ]
    assert score_arm(tenth[1], facts, rule=rule, val=tenth[0])["accuracy"] == found["accuracy"]
    swapped = score_arm(test, facts, rule=rule, val=val, classes=["b", "a"])["accuracy"]["value"]
    chosen = choose_threshold(
        val.assign(target=1 - val["target"])[["sample_id", "group_id", "target", "prob/b", "prob/a"]], rule
    )
    assert swapped == pytest.approx(((test["prob/a"] > chosen) == (test["target"] == 0)).mean())


def test_differences_are_model_minus_arm():
    facts = facts_of("multiclass", "abc")
    model, arm = (table_of(np.arange(60) % 3, seed=seed) for seed in (1, 2))
    found = score_arm(arm, facts, model=model)["auroc_difference"]
    assert found == paired_difference(model, arm, metric="auroc", task="multiclass", classes=tuple("abc"))
    target = Facts(**{**facts_of("regression", "a").__dict__, "target_mean": (0.0,), "target_std": (1.0,)})
    truth = np.random.default_rng(0).normal(size=30)
    table = model.iloc[:30].assign(**{"target/a": truth, "pred/a": truth + 0.1})
    worse = table.assign(**{"pred/a": truth * 3})
    found = score_arm(worse, target, model=table)["mae_difference"]
    assert found["value"] == pytest.approx(0.1 - np.abs(2 * truth).mean())


@pytest.mark.parametrize("present", [[0, 1], [0], []])
def test_classes_absent_from_the_test_split_give_null_metrics_with_a_reason(present):
    facts = facts_of("multiclass", "abcd")
    truth = np.resize([*present, 3], 40)
    model, arm = (table_of(truth, seed=seed, classes=4) for seed in (1, 2))
    found = score_arm(arm, facts, classes=["a", "b", "c"], model=model)
    for name in ("auroc", "balanced_accuracy", "auroc_difference"):
        assert found[name]["value"] is None
        assert "no" in found[name]["reason"]
        assert "class" in found[name]["reason"]
    assert found["accuracy"]["n"] == (truth != 3).sum()


def test_the_frame_is_chosen_on_the_classes_that_count():
    facts = facts_of("multiclass", "abc")
    val = table_of(np.arange(60) % 3)
    blind = val.assign(**{"prob/a": 1 / 3, "prob/b": 1 / 3, "prob/c": 1 / 3})
    # Separates c from the others, and these not from each other.
    only_c = blind.copy()
    only_c.loc[val["target"] == 2, ["prob/a", "prob/b", "prob/c"]] = (0.0, 0.0, 1.0)
    assert score_validation(only_c, facts, None)[0] > 0.8
    assert score_validation(only_c, facts, ["a", "b"]) == (0.5, "auroc")


def test_without_an_auroc_the_frame_is_chosen_by_accuracy_and_for_continuous_targets_by_error():
    facts = facts_of("multiclass", "abc")
    truth = np.arange(30) % 3
    val = table_of(truth, groups=np.where(truth == 2, "p2", [f"q{k}" for k in range(30)]))
    right = (val[["prob/a", "prob/b", "prob/c"]].to_numpy().argmax(axis=1) == truth).mean()
    assert score_validation(val, facts, None) == (pytest.approx(right), "accuracy")
    one_patient = val.assign(group_id="p", **{"target/a": 1.0, "pred/a": 4.0})
    assert score_validation(one_patient, facts_of("regression", "a"), None) == (-3.0, "mae")
