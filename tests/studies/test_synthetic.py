"""The closed loop without its trainings: what is planned, in which order jobs are done, how it goes on, the verdict."""

import json
import signal

import numpy as np
import pytest
import torch

from run_maker import predictions, write_run
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError, RunFailed
from vesalius.config.facts import Facts
from vesalius.data.sources.lesions import Lesions
from vesalius.data.sources.medmnist.medmnist import MedMNIST
from vesalius.metrics.comparison.paired import paired_difference
from vesalius.runs.arms import Arm
from vesalius.runs.run import read_run
from vesalius.runs.run_folder import Interrupted, RunFolder, write_json
from vesalius.studies.synthetic import run as gain
from vesalius.studies.synthetic.checks import check_labels
from vesalius.studies.synthetic.plan import Plan, Training, override, plan_study

SMALL = [
    'both=["data=lesions","data.source.patients=24","data.train_fraction=0.5"]',
    'gan=["model=gan"]',
    'cnn=["data.steps_per_epoch=7"]',
    "seeds=[4,5]",
]
FEW = [f"arms.{name}=null" for name in ("oversampled", "synthetic_half", "synthetic_2", "synthetic_only")]
SEEDS = (0, 1, 2)
#: Of a generator that learned from 33 images.
FACTS = Facts(
    task="unlabelled",
    classes=(),
    channels=1,
    image_size=(8, 8),
    value_max=255.0,
    class_counts=(),
    train_size=33,
    mean=(0.0,),
    std=(1.0,),
).to_dict()
EARLY_STOPPING = (
    "+callbacks.patience={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/auroc, mode: max}"
)


def plan_of(folder, *overrides):
    return plan_study(load_config("gain", [*SMALL, *overrides]), folder)


def problems(folder, *overrides):
    with pytest.raises(InputError) as refused:
        plan_of(folder, *overrides)
    return str(refused.value)


def test_all_learn_by_equal_steps_on_the_generators_split_and_only_some_from_its_images(tmp_path):
    plan = plan_of(tmp_path)
    assert list(plan.arms) == [
        "real",
        "augmented",
        "oversampled",
        "synthetic_half",
        "synthetic_1",
        "synthetic_2",
        "synthetic_only",
    ]
    assert plan.ratios == {"synthetic_half": 0.5, "synthetic_1": 1, "synthetic_2": 2, "synthetic_only": "only"}
    configs = {name: load_config("train", jobs[1].overrides) for name, jobs in plan.arms.items()}
    generator = load_config("train", plan.gan.overrides)
    assert {config["data"]["steps_per_epoch"] for config in configs.values()} == {7}
    assert {config["data"]["split_file"] for config in configs.values()} == {str(tmp_path / "gan" / "split.csv")}
    assert all(config["data"]["source"] == generator["data"]["source"] for config in configs.values())
    assert {config["seed"] for config in configs.values()} == {5}
    given = {name: config["data"]["synthetic"] for name, config in configs.items()}
    assert given == {name: str(tmp_path / "synthetic") if name in plan.ratios else None for name in configs}
    assert {name for name, config in configs.items() if config["data"]["augment"]["operations"]} == {"augmented"}
    assert {name for name, config in configs.items() if config["data"]["sampling"] == "balanced"} == {"oversampled"}


def test_folds_are_dealt_once_by_the_generators_split(tmp_path):
    plan = plan_of(tmp_path, *FEW, 'both=["data=lesions","data.source.patients=60","data.folds=5","data.fold=1"]')
    assert load_config("train", plan.gan.overrides)["data"]["fold"] == 1
    for jobs in plan.arms.values():
        data = load_config("train", jobs[0].overrides)["data"]
        assert (data["fold"], data["folds"], data["split_file"]) == (None, None, str(tmp_path / "gan" / "split.csv"))


def test_whole_seeds_are_done_one_after_the_other(tmp_path):
    titles = [job.title for job in plan_of(tmp_path, *FEW).trainings]
    assert titles[:3] == ["real, seed 4", "augmented, seed 4", "synthetic_1, seed 4"]
    assert [title.endswith("seed 5") for title in titles] == [False] * 3 + [True] * 3


def test_every_problem_is_reported_with_its_cure(tmp_path):
    messages = problems(tmp_path, "seeds=[1,1]", "metric=aurok", "arms.real=null", '+arms.gan=["x=1"]', "n=-1")
    for words in ("without repetition", "Did you mean 'auroc'", "arms.real", "arms.gan: an arm is a folder", "n=-1"):
        assert words in messages
    messages = problems(tmp_path, *FEW, 'cnn=["data.step_per_epoch=7"]', 'arms.real=["dta=3"]')
    assert messages.count("data.step_per_epoch") == 1
    assert "cnn: data.step_per_epoch" in messages
    assert "arms.real: dta" in messages
    assert "root has no value" in problems(tmp_path, *FEW, 'both=["data=image_folder"]')


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([*FEW, "arms.synthetic_1=null"], ["none sets data.synthetic_ratio"]),
        (
            [*FEW, "cnn=[]", 'gan=["model=cnn"]', 'arms.augmented=["trainer.max_epochs=3"]'],
            ["steps_per_epoch is not set", "CNNClassifier generates no images", "trainer.max_epochs (3, "],
        ),
        (
            [
                *FEW,
                'gan=["model=gan","model.conditional=false","data.source.patients=30"]',
                'arms.augmented=["data/augment=none"]',
                'arms.synthetic_1=["data.synthetic=here","data.synthetic_ratio=1"]',
            ],
            ["set model.conditional=true", "data.source differs", "same as arms.real", "leave data.synthetic out"],
        ),
        (
            [
                *FEW,
                f'cnn=["data.steps_per_epoch=7","{EARLY_STOPPING}"]',
                'arms.augmented=["trainer.limit_train_batches=1","+trainer.max_time={minutes: 1}"]',
            ],
            [
                "arms.real: callbacks.patience would end arms",
                "arms.augmented: trainer.max_time, callbacks.patience would end arms",
                "trainer.limit_train_batches (1, None in real)",
            ],
        ),
        (
            [
                *FEW,
                'gan=["model=gan","data.fractions=[0.6,0.2,0.2]","data.shuffle_labels=true"]',
                'arms.augmented=["data.split_file=other.csv","data.fold=1","data.folds=5"]',
                'arms.real=["data/augment=none","data.synthetic=here","data.train_fraction=1"]',
                'arms.synthetic_1=["data/augment=none","data.synthetic_ratio=-1"]',
            ],
            [
                "data.fractions differs from that of real, augmented, synthetic_1",
                "data.train_fraction differs from that of real, and",
                "data.shuffle_labels=true (gan)",
                "arms.augmented: leave data.split_file, data.fold, data.folds out",
                "arms.real: leave data.synthetic out",
                "arms.synthetic_1: data.synthetic_ratio=-1: must be a number above 0",
            ],
        ),
        ([*FEW, "metric=recall/nodul"], ["metric=recall/nodul: there is no", "Did you mean 'recall/nodule'"]),
    ],
)
def test_a_loop_that_would_not_be_fair_is_refused(tmp_path, given, words):
    messages = problems(tmp_path, *given)
    assert [one for one in words if one not in messages] == []


def test_only_metrics_of_data_with_one_class_each_are_asked_for():
    check_labels(Lesions(), "specificity/cyst")
    with pytest.raises(InputError, match="metric=accuracy/nodule: there is no such metric"):
        check_labels(Lesions(), "accuracy/nodule")
    with pytest.raises(InputError, match="the samples are multilabel"):
        check_labels(MedMNIST("chestmnist"), "auroc")


@pytest.mark.parametrize("value", ["plain", "/a b/c=d,e", "it's", "[x]", "a: b"])
def test_an_override_holds_any_path(value):
    assert load_config("train", [override("data.split_file", value)])["data"]["split_file"] == value


def short_plan(folder, least=0):
    """Three arms of two seeds."""
    arms = {
        name: [Training(f"{name}, seed {seed}", folder / name / str(seed), [f"seed={seed}"]) for seed in (4, 5)]
        for name in ("real", "synthetic_2", "synthetic_only")
    }
    ratios = {"synthetic_2": 2.0, "synthetic_only": "only"}
    return Plan(Training("generator", folder / "gan", []), folder / "synthetic", ratios, arms, 0, least)


class Trainings:
    """Instead of processes: writes what they would, and fails or is stopped where asked to."""

    def __init__(self, monkeypatch, endings=None):
        self.endings, self.done, self.asked = endings or {}, [], []
        monkeypatch.setattr(gain, "launch", self)
        monkeypatch.setattr(gain, "load_config", lambda verb, overrides: {"verb": verb, "overrides": overrides})

    def __call__(self, verb, config, overrides, path):
        name = "/".join(path.parts[-2:]) if verb == "train" and path.name != "gan" else path.name
        self.done.append(name)
        ending = self.endings.get(name, 0)
        if ending in (130, 143):
            raise SystemExit(ending)
        if verb == "synthesize":
            self.asked.append(next(one for one in overrides if one.startswith("n=")))
            path.mkdir()
            write_json(path / "manifest.json", {})
            return 0, 0.0
        assert config["resume"] == "auto"
        seed = int(overrides[0].removeprefix("seed=")) if overrides else 0
        if not path.exists():
            write_run(path, predictions(1.0, seed), seed=seed)
        folder = RunFolder(path)
        write_json(path / "state.json", {"state": "failed" if ending else "done", "seconds": 60.0})
        folder.checkpoints.mkdir(exist_ok=True)
        found = {"config": {}, "facts": FACTS, "state_dict": {}, "provenance": {}, "epoch": 0}
        torch.save(found, folder.best)
        return ending, 0.0


@pytest.fixture
def quiet_signals():
    """`do` lets go of signals when it is stopped; what tests had is put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_trainings_run_in_order_after_as_many_images_as_the_largest_ratio_takes(tmp_path, monkeypatch, capsys):
    work, plan = Trainings(monkeypatch), short_plan(tmp_path)
    assert gain.run_plan(plan) == []
    assert work.done[:4] == ["gan", "synthetic", "real/4", "synthetic_2/4"]
    assert (len(work.done), work.asked) == (8, ["n=66"])
    messages = capsys.readouterr().err
    assert "[3/8] real, seed 4\n" in messages
    assert "[4/8] synthetic_2, seed 4; about 5 minutes left" in messages
    work.done.clear()
    assert gain.run_plan(plan) == []
    assert work.done == []
    assert gain.images_needed(short_plan(tmp_path, 500)) == 500


def test_after_a_stop_only_what_is_missing_is_done(tmp_path, monkeypatch, quiet_signals):
    work, plan = Trainings(monkeypatch, {"synthetic_2/4": 130}), short_plan(tmp_path)
    with pytest.raises(Interrupted) as stop:
        gain.run_plan(plan)
    assert stop.value.exit_code == 130
    work.endings.clear()
    work.done.clear()
    assert gain.run_plan(plan) == []
    assert work.done[0] == "synthetic_2/4"
    assert len(work.done) == 5


def test_images_that_were_not_finished_are_generated_again(tmp_path, monkeypatch):
    work, plan = Trainings(monkeypatch), short_plan(tmp_path)
    gain.run_plan(plan)
    (plan.synthetic / "manifest.json").unlink()
    (plan.synthetic / "images").mkdir()
    gain.run_plan(plan)
    assert work.asked == ["n=66", "n=66"]
    assert not (plan.synthetic / "images").exists()


def test_a_failed_classifier_does_not_stop_the_others_and_is_trained_again(tmp_path, monkeypatch):
    work, plan = Trainings(monkeypatch, {"synthetic_only/4": 1}), short_plan(tmp_path)
    assert gain.run_plan(plan) == ["synthetic_only, seed 4: exit code 1."]
    assert len(work.done) == 8
    arms, left_out = gain.finished_arms(plan)
    assert {arm.name: [run.seed for run in arm.runs] for arm in arms} == {name: [5] for name in plan.arms}
    assert left_out == ["Seeds 4 are left out: not all arms have finished them."]
    work.endings.clear()
    work.done.clear()
    assert gain.run_plan(plan) == []
    assert work.done == ["synthetic_only/4"]


def test_without_a_generator_nothing_is_compared(tmp_path, monkeypatch):
    work, plan = Trainings(monkeypatch, {"gan": 1}), short_plan(tmp_path)
    with pytest.raises(RunFailed, match="generator: exit code 1"):
        gain.run_plan(plan)
    assert work.done == ["gan"]


def arms_of(folder, **qualities):
    """Arms by name, of runs with predictions of a quality and a validation AUROC."""
    arms = []
    for name, (quality, validation) in qualities.items():
        arms.append(Arm(name, {"arm": name}, []))
        for seed in SEEDS:
            path = write_run(folder / name / str(seed), predictions(quality, seed), seed=seed)
            content = json.loads((path / "metrics.json").read_text())
            write_json(path / "metrics.json", content | {"val": {"auroc": {"value": validation + 0.01 * seed}}})
            run, damage = read_run(path, f"{name}/{seed}")
            assert not damage
            arms[-1].runs.append(run)
    return arms


def test_the_verdict_is_on_the_arm_that_validation_picks_not_on_the_best_of_the_test(tmp_path):
    arms = arms_of(tmp_path, real=(0.5, 0.6), augmented=(0.9, 0.7), one=(2.0, 0.8), two=(3.0, 0.75))
    content = gain.measure_gain(arms, ["one", "two"], metric="auroc", seed=0)
    assert content["best_on_validation"] == "one"
    assert content["validation"] == pytest.approx({"one": 0.81, "two": 0.76})
    assert content["verdict"].endswith(content["comparisons"]["augmented"]["arms"]["one"]["verdict"])
    assert "one reaches a higher auroc than augmented" in content["verdict"]
    assert list(content["comparisons"]["real"]["arms"]) == ["real", "augmented", "one", "two"]
    assert list(content["comparisons"]["augmented"]["arms"]) == ["augmented", "one", "two"]
    difference = content["comparisons"]["augmented"]["arms"]["one"]["auroc_difference"]["value"]
    pairs = [(predictions(2.0, seed), predictions(0.9, seed)) for seed in SEEDS]
    kind = {"metric": "auroc", "task": "binary", "classes": ["healthy", "sick"]}
    assert difference == pytest.approx(np.mean([paired_difference(*pair, **kind)["value"] for pair in pairs]))
    json.dumps(content, allow_nan=False)


def test_without_classical_augmentation_the_real_images_are_what_counts(tmp_path):
    content = gain.measure_gain(arms_of(tmp_path, real=(1.0, 0.6), one=(1.0, 0.8)), ["one"], metric="auroc", seed=0)
    assert list(content["comparisons"]) == ["real"]
    assert "No evidence of a gain: auroc of one minus that of real" in content["verdict"]


def test_arms_that_a_callback_ended_at_other_steps_are_not_compared(tmp_path):
    arms = {}
    for name, steps in {"real": [2, 4], "one": [2, 4, 6]}.items():
        jobs = [Training(f"{name}, seed {seed}", tmp_path / name / str(seed), []) for seed in SEEDS]
        for job, seed in zip(jobs, SEEDS, strict=True):
            write_run(job.path, predictions(1.0, seed), seed=seed)
            (job.path / "history.csv").write_text("\n".join(["step", *map(str, steps if seed else [2, 4]), ""]))
        arms[name] = jobs
    plan = Plan(Training("generator", tmp_path / "gan", []), tmp_path / "synthetic", {"one": 1.0}, arms, 0, 0)
    with pytest.raises(RunFailed, match=r"real/0 4, real/1 4, real/2 4, one/0 4, one/1 6, one/2 6\."):
        gain.summarize(plan, metric="auroc")


def test_of_errors_the_lowest_on_validation_is_picked(tmp_path):
    arms = arms_of(tmp_path, real=(1.0, 0.0), one=(1.0, 0.0), two=(1.2, 0.0))
    for arm, error in zip(arms[1:], (0.1, 0.3), strict=True):
        for run in arm.runs:
            run.results["val"]["brier"] = {"value": error}
    assert gain.measure_gain(arms, ["one", "two"], metric="brier", seed=0)["best_on_validation"] == "one"


@pytest.mark.parametrize(
    ("study", "given"),
    [("synthetic_gain", []), pytest.param("breast_synthetic_gain", ["root=FOLDER"], marks=pytest.mark.slow)],
)
def test_the_shipped_studies_are_fair(tmp_path, study, given):
    plan = plan_study(load_config("gain", [f"study={study}", *given, *FEW]), tmp_path)
    trained = load_config("train", plan.arms["augmented"][0].overrides)["data"]
    assert trained["augment"]["operations"]
    assert trained["source"].get("root", "FOLDER") == "FOLDER"
