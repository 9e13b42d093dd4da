"""Which runs a report takes for repeats of one experiment, and how it names experiments."""

import itertools

import pytest

from report_maker import finish, write_sweep
from run_maker import predictions, write_run
from vesalius.report.content import content_of, parts_of
from vesalius.report.page import page_of
from vesalius.runs.arms import arm_numbers, varying_keys
from vesalius.runs.find import find_runs


def write(path, *runs):
    """A run for each pair of typed overrides and a config."""
    for number, (typed, config) in enumerate(runs):
        finish(write_run(path / str(number), predictions(1.0, number), **config), typed, 0.6 + number / 100)
    return find_runs(path).runs


@pytest.mark.parametrize(
    ("key", "first", "second"),
    [
        ("init_from", "/r/ae1/checkpoints/best.ckpt", "/r/ae2/checkpoints/best.ckpt"),
        ("data.source.root", "/data/siteA/images", "/data/siteB/images"),
    ],
)
def test_paths_that_end_alike_are_two_experiments_with_names_of_their_own(tmp_path, key, first, second):
    config = key.replace(".", "__")
    runs = write(tmp_path, *(([f"{key}={path}"], {config: path}) for path in (first, second, first)))
    assert arm_numbers(runs) == [0, 1, 0]
    (names,) = varying_keys(runs).values()
    assert names[0] == names[2] != names[1]
    assert not any("ae1" in name or "site" in name for name in names)


def test_a_config_that_was_edited_in_between_is_another_experiment(tmp_path):
    config = [{"lr": lr, "model__hidden": hidden} for lr, hidden in ((0.1, 10), (0.1, 999), (0.2, 10), (0.1, 10))]
    content = [([f"lr={one['lr']}", f"seed={seed}"], {"seed": seed, **one}) for seed, one in enumerate(config)]
    runs = write(tmp_path, *content)
    assert arm_numbers(runs) == [0, 1, 2, 0]
    assert varying_keys(runs) == {"lr": ["0.1", "0.1", "0.2", "0.1"], "model.hidden": ["10", "999", "10", "10"]}


def test_a_default_that_was_typed_makes_no_experiment(tmp_path):
    same, other = {"model__kind": "cnn"}, {"model__kind": "vgg"}
    runs = write(tmp_path, (["seed=0"], same), (["seed=1", "model=cnn"], {"seed": 1, **same}), (["model=vgg"], other))
    assert arm_numbers(runs) == [0, 0, 1]
    assert varying_keys(runs) == {"model": ["cnn", "cnn", "vgg"]}


def test_what_follows_the_seed_makes_no_experiment_but_a_typed_key_does(tmp_path):
    follows = write(tmp_path / "a", *(([f"seed={seed}"], {"seed": seed, "model__draw": seed}) for seed in range(3)))
    assert arm_numbers(follows) == [0, 0, 0]
    typed = [([f"seed={n}", f"model.depth={n}"], {"seed": n, "model__depth": n}) for n in range(3)]
    assert arm_numbers(write(tmp_path / "b", *typed)) == [0, 1, 2]


def test_folds_and_seeds_of_the_data_are_repeats(tmp_path):
    pairs = itertools.product(range(2), range(2))
    runs = write(tmp_path, *(([], {"data__seed": seed, "data__fold": fold}) for seed, fold in pairs))
    assert set(arm_numbers(runs)) == {0}


def test_a_job_without_a_folder_is_of_the_experiment_that_was_typed_alike(tmp_path):
    path = write_sweep(tmp_path / "sweep", seeds=2)
    for name in ("1", "3"):
        (path / name / "config.yaml").unlink()
    numbers = arm_numbers(find_runs(path).runs)
    assert numbers[1] == numbers[0] != numbers[3] == numbers[2]


def test_keys_that_tell_the_same_runs_apart_are_named_once_and_without_overrides_the_configs_tell(tmp_path):
    values = [("a", 0.1, 0), ("a", 0.2, 0), ("b", 0.1, 1)]
    runs = write(
        tmp_path,
        *(([f"model={m}", f"++lr={lr}", f"x={x}"], {"model__kind": m, "lr": lr, "x": x}) for m, lr, x in values),
    )
    assert varying_keys(runs) == {"model": ["a", "a", "b"], "lr": ["0.1", "0.2", "0.1"]}
    for number in range(3):
        (tmp_path / str(number) / "overrides.yaml").unlink()
    keys = varying_keys(find_runs(tmp_path).runs)
    assert len(set(zip(*keys.values(), strict=True))) == 3


def test_keys_that_end_alike_keep_arms_apart_by_name(tmp_path):
    both = [([f"model.{part}.p=1"], {f"model__{part}__p": 1}) for part in ("net", "head")]
    write(tmp_path, *both, ([], {}))
    collected = find_runs(tmp_path)
    parts = parts_of(collected)
    content = content_of(collected, parts)
    assert [arm["arm"] for arm in content["parts"][0]["arms"]] == ["as it is", "model.head.p=1", "model.net.p=1"]
    assert "<h1>" in page_of(collected, parts, content)


def test_links_add_no_runs(tmp_path):
    path = write_sweep(tmp_path / "sweep", seeds=1)
    before = [run.name for run in find_runs(path).runs]
    for name, target in (("latest", path / "1"), ("00", path / "1"), ("loop", path)):
        (path / name).symlink_to(target, target_is_directory=True)
    assert [run.name for run in find_runs(path).runs] == before
