"""Which runs are found, and how they become arms."""

import pytest

from run_maker import predictions, write_run
from vesalius.config.errors import InputError
from vesalius.runs.arms import arms_by, other_differences
from vesalius.runs.find import find_finished

TABLE = predictions(2.0, seed=0)


def grouped(paths, by):
    runs, _ = find_finished([str(path) for path in paths])
    return {arm.name: [run.seed for run in arm.runs] for arm in arms_by(runs, by)}


def test_a_folder_gives_all_finished_runs_below_it_and_says_what_it_leaves_out(tmp_path):
    for job in range(11):
        write_run(tmp_path / "sweep" / str(job), TABLE, seed=job, state="failed" if job == 4 else "done")
    inside = tmp_path / "sweep" / "0" / "evaluations" / "id"
    inside.mkdir(parents=True)
    (inside / "config.yaml").write_text("run: x\nseed: 0\n")
    audit = tmp_path / "sweep" / "audit"
    audit.mkdir()
    (audit / "config.yaml").write_text("seed: 0\naudit: {}\n")
    runs, left_out = find_finished([str(tmp_path), str(tmp_path / "sweep" / "3")])
    assert [run.seed for run in runs] == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert left_out == ["sweep/4 is failed: it is left out."]


def test_every_folder_that_cannot_be_used_is_named(tmp_path):
    failed = write_run(tmp_path / "failed", TABLE, state="failed")
    bare = write_run(tmp_path / "bare", TABLE)
    (bare / "predictions" / "test.csv").unlink()
    (tmp_path / "empty").mkdir()
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "config.yaml").write_text("seed: 0\n")
    named = [failed, bare, tmp_path / "empty", tmp_path / "audit", tmp_path / "gone"]
    with pytest.raises(InputError) as refused:
        find_finished([str(path) for path in named])
    messages = refused.value.problems
    assert [str(path) in problem for path, problem in zip(named, messages, strict=True)] == [True] * 5
    for words, problem in zip(
        ["failed", "no test", "no finished", "no training", "not a folder"], messages, strict=True
    ):
        assert words in problem


@pytest.mark.parametrize(
    ("values", "key", "names"),
    [
        ([None, "/some/where/runs/ae/2026-11-22_14-57-43-50b9"], "init_from", ["none", "ae"]),
        (["/a/runs/ae/2026-11-22_14-57-43-50b9/3", "/a/best"], "init_from", ["ae", "best"]),
        (["/a/x/model", "/a/y/model"], "init_from", ["x/model", "y/model"]),
        (["/a/runs/ae/2026-11-22_14-57-43-50b9/3", "/a/runs/ae/2026-11-22_14-57-43-50b9/4"], "init_from", None),
        (["pkg.one.Net", "pkg.one.Other"], "model___target_", ["Net", "Other"]),
        (["pkg.one.Net", "pkg.two.Net"], "model___target_", ["pkg.one.Net", "pkg.two.Net"]),
        ([16, 8], "model__net__latent_dim", ["16", "8"]),
        ([True, "true"], "model__net__path", ["true", '"true"']),
        ([[1, 2], None], "model__net__sizes", ["[1, 2]", "none"]),
    ],
)
def test_arms_have_readable_and_different_names(tmp_path, values, key, names):
    paths = [write_run(tmp_path / str(at), TABLE, **{key: value}) for at, value in enumerate(values)]
    by = "model._target_" if key == "model___target_" else key.replace("__", ".")
    found = list(grouped(paths, by))
    assert len(found) == len(values)
    if names is not None:
        assert found == names


def test_runs_without_the_key_are_an_arm_and_seeds_are_sorted(tmp_path):
    paths = [write_run(tmp_path / f"a{seed}", TABLE, seed=seed) for seed in (2, 0, 1)]
    paths += [write_run(tmp_path / f"b{seed}", TABLE, seed=seed, model__net__cell="gru") for seed in (1, 2, 0)]
    assert grouped(paths, "model.net.cell") == {"none": [0, 1, 2], "gru": [0, 1, 2]}


def test_arms_that_cannot_be_paired_are_refused_with_all_reasons(tmp_path):
    paths = [write_run(tmp_path / f"a{seed}", TABLE, seed=seed) for seed in (0, 1)]
    paths += [write_run(tmp_path / f"b{seed}", TABLE, seed=seed, init_from="x") for seed in (1, 2)]
    paths += [write_run(tmp_path / "c", TABLE, seed=1, init_from="x", model__lr=3)]
    with pytest.raises(InputError) as refused:
        grouped(paths, "init_from")
    messages = refused.value.problems
    assert "arm x has 2 runs of seed 1" in messages[0]
    assert "model.lr" in messages[0]
    assert "none has no run of seed 2" in messages[1]
    assert "x has no run of seed 0" in messages[2]


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("seed", "name another key"),
        ("init_form", "Did you mean 'init_from'?"),
        ("data", "group of keys"),
        ("init_from", "nothing to compare"),
    ],
)
def test_a_key_that_makes_no_arms_is_refused(tmp_path, by, words):
    paths = [write_run(tmp_path / f"a{seed}", TABLE, seed=seed) for seed in (0, 1)]
    with pytest.raises(InputError, match=words.replace("?", r"\?")):
        grouped(paths, by)


def test_a_group_makes_arms_by_the_options_that_were_chosen(tmp_path):
    paths = []
    for option, rate in (("default", 0), ("lora", 1), ("full", 2)):
        for seed in (0, 1):
            folder = write_run(tmp_path / f"{option}{seed}", TABLE, seed=seed, model__lr=rate)
            chosen = "" if option == "default" else f"- model={option}\n"
            (folder / "overrides.yaml").write_text(f"{chosen}- seed={seed}\n")
            paths.append(folder)
    assert list(grouped(paths, "model")) == ["default", "lora", "full"]


def test_what_follows_the_seed_or_names_a_run_is_no_difference(tmp_path):
    paths = [
        write_run(tmp_path / f"a{seed}", TABLE, seed=seed, name=f"n{seed}", model__lr=0.1 * seed, init_from=str(seed))
        for seed in (1, 2)
    ]
    runs, _ = find_finished([str(path) for path in paths])
    assert other_differences(runs, "init_from") == ["model.lr"]


def test_what_an_option_of_a_group_brings_along_is_no_other_difference(tmp_path):
    paths = []
    for option, augment in (("probe", {}), ("full", {"flip": {"horizontal": 0.5, "vertical": 0.5}})):
        values = {"model__lr": option, "data__augment": augment}
        folder = write_run(tmp_path / option, TABLE, seed=0, **values)
        (folder / "overrides.yaml").write_text(f"- model={option}\n")
        paths.append(folder)
    runs, _ = find_finished([str(path) for path in paths])
    assert other_differences(runs, "model") == ["data.augment"]
