"""The closed loop: train a generator, generate images, train classifiers on them, and compare these on test data."""

import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.config.compose import load_config
from vesalius.config.direction import mode_of
from vesalius.config.errors import InputError, RunFailed, VesaliusError, print_problems
from vesalius.data.synthetic import MANIFEST
from vesalius.launch.launch import launch
from vesalius.metrics.formatting import format_number
from vesalius.runs.arms import Arm
from vesalius.runs.find import short_name
from vesalius.runs.run import Run, read_run
from vesalius.runs.run_folder import Interrupted, RunFolder
from vesalius.studies.compare import compare
from vesalius.studies.synthetic.plan import AUGMENTED, REAL, Plan, Training, override
from vesalius.training.checkpoints import load_checkpoint

SCHEMA = 1

_ONE_GENERATOR = (
    "Intervals count test patients and seeds of the classifiers. There is only one generator and one set of images: "
    "the intervals do not cover what another training of the generator would be worth."
)


def run_plan(plan: Plan) -> list[str]:
    """Run everything that is not done yet.

    Returns:
        A sentence for each training of an arm that failed; the others were run all the same.

    Raises:
        InputError: if the generator's training was refused at once, so that nothing was done.
        RunFailed: if the generator or its images failed, without which nothing can be compared.
        Interrupted: when the user stops it.
    """
    total = len(plan.trainings) + 2
    if not plan.gan.done:
        _print_step(1, total, plan.gan.title)
        _train_generator(plan.gan)
    if not (plan.synthetic / MANIFEST).is_file():
        _print_step(2, total, "synthetic images")
        _generate_images(plan)
    failed = []
    for at, training in enumerate(plan.trainings):
        if training.done:
            continue
        _print_step(at + 3, total, training.title, _time_left(plan.trainings))
        if code := _launch("train", training.path, training.overrides):
            failed.append(f"{training.title}: exit code {code}.")
    return failed


def _train_generator(training: Training) -> None:
    if code := _launch("train", training.path, training.overrides):
        if not training.path.exists():
            raise InputError("gan: its training was refused for the reasons above; nothing was done.")
        raise _stopped(training.title, training.path, code)


def _generate_images(plan: Plan) -> None:
    shutil.rmtree(plan.synthetic, ignore_errors=True)  # of an interrupted start
    given = [override("run", plan.gan.path), f"n={images_needed(plan)}", f"seed={plan.seed}"]
    if code := _launch("synthesize", plan.synthetic, given):
        raise _stopped("synthetic images", plan.synthetic, code)


def images_needed(plan: Plan) -> int:
    """As many synthetic images as the largest ratio takes; as many as real ones for `only`."""
    real: int = load_checkpoint(RunFolder(plan.gan.path).best)["facts"]["train_size"]
    ratios = [1.0 if ratio == "only" else float(ratio) for ratio in plan.ratios.values()]
    return max(plan.least, *(round(ratio * real) for ratio in ratios))


def _launch(verb: str, path: Path, overrides: list[str]) -> int:
    """Run a verb in an interpreter of its own, resuming a training that was stopped; the exit code."""
    try:
        config = load_config(verb, overrides)
        code, _ = launch(verb, {**config, "resume": "auto"} if verb == "train" else config, overrides, path)
    except VesaliusError as error:
        print_problems(error)
        return error.exit_code
    except SystemExit as stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second one must not break the saving of the state
        raise Interrupted(int(str(stop.code))) from stop
    return code


def _stopped(title: str, path: Path, code: int) -> RunFailed:
    return RunFailed(f"{title}: exit code {code}, and without it nothing can be compared; see {path}.")


def _print_step(number: int, total: int, title: str, left: str = "") -> None:
    sys.stderr.write(f"[{number}/{total}] {title}{left}\n")
    sys.stderr.flush()


def _time_left(trainings: Sequence[Training]) -> str:
    """Remaining time of the classifiers, estimated from those that are done."""
    seconds = [RunFolder(training.path).state["seconds"] for training in trainings if training.done]
    if not seconds:
        return ""
    minutes = sum(seconds) / len(seconds) * (len(trainings) - len(seconds)) / 60
    return f"; about {minutes:.0f} minutes left" if minutes >= 1 else "; about a minute left"


def finished_arms(plan: Plan) -> tuple[list[Arm], list[str]]:
    """The arms to compare, with runs of the seeds that all have, and a sentence on each arm and seed left out.

    Raises:
        RunFailed: for a finished run whose files cannot be read.
    """
    done = {name: _by_seed(trainings) for name, trainings in plan.arms.items()}
    left_out = [f"{name}: no run was finished; it is left out." for name, runs in done.items() if not runs]
    done = {name: runs for name, runs in done.items() if runs}
    everyone = {seed for runs in done.values() for seed in runs}
    shared = sorted(seed for seed in everyone if all(seed in runs for runs in done.values()))
    if lost := sorted(everyone - set(shared)):
        left_out.append(f"Seeds {', '.join(map(str, lost))} are left out: not all arms have finished them.")
    return [Arm(name, {"arm": name}, [runs[seed] for seed in shared]) for name, runs in done.items()], left_out


def _by_seed(trainings: Sequence[Training]) -> dict[int, Run]:
    runs = [_read(training) for training in trainings if training.done]
    return {run.config["seed"]: run for run in runs}


def _read(training: Training) -> Run:
    run, damage = read_run(training.path, short_name(training.path))
    if run is None or run.results is None:
        raise RunFailed([f"{training.title}: the results in {training.path} cannot be read.", *damage])
    return run


def measure_gain(arms: Sequence[Arm], learning: Sequence[str], *, metric: str, seed: int) -> dict[str, Any]:
    """Measure what the images are worth.

    Args:
        arms: with finished runs of the same seeds in the same order; `real` is one.
        learning: names of the arms that learn from synthetic images.
        metric: one of the runs' test metrics.
        seed: of the bootstrap.

    Returns:
        `comparisons`: of all arms with `real`, and where there is such an arm, of those that learn from synthetic
        images with `augmented`, each as `compare` has it; `validation`: mean over seeds of the metric on validation
        data, of each arm that learns from images; `best_on_validation`: the arm that is picked by it, which is what a
        user could have done; and `verdict`: how that one does on test data against `augmented`, else `real`.

    Raises:
        InputError: for runs that cannot be compared.
    """
    comparisons = {REAL: compare(arms, metric=metric, by="arm", reference=REAL, seed=seed)}
    by_name = {arm.name: arm for arm in arms}
    learning = [name for name in by_name if name in learning]
    against = AUGMENTED if AUGMENTED in by_name else REAL
    if against == AUGMENTED and learning:
        some = [by_name[name] for name in (AUGMENTED, *learning)]
        comparisons[AUGMENTED] = compare(some, metric=metric, by="arm", reference=AUGMENTED, seed=seed)
    means = {name: _validation_mean(by_name[name].runs, metric) for name in learning}
    known = {name: mean for name, mean in means.items() if mean is not None}
    result: dict[str, Any] = {"comparisons": comparisons, "validation": means, "best_on_validation": None}
    if not known:
        return result | {"verdict": f"No verdict: no arm with synthetic images has {metric} on validation data."}
    pick = min if mode_of(metric) == "min" else max
    best = pick(known, key=lambda name: known[name])
    seeds = len(by_name[best].runs)
    picked = (
        f"Of the arms with synthetic images {best} is best on validation data ({metric} {format_number(known[best])}, "
        f"{seeds} seed{'s' if seeds > 1 else ''}). On test data: "
    )
    return result | {"best_on_validation": best, "verdict": picked + comparisons[against]["arms"][best]["verdict"]}


def _validation_mean(runs: Sequence[Run], metric: str) -> float | None:
    values = [((run.results or {}).get("val") or {}).get(metric, {}).get("value") for run in runs]
    return None if not values or None in values else float(np.mean(values))


def summarize(plan: Plan, *, metric: str) -> dict[str, Any]:
    """Content of `gain.json`: `measure_gain` of all that was finished, and where the images come from.

    Raises:
        RunFailed: where too little was finished to compare anything, or arms were not trained for equally many steps.
    """
    arms, left_out = finished_arms(plan)
    real = next((arm for arm in arms if arm.name == REAL), None)
    if real is None or len(arms) < 2 or not real.runs:
        raise RunFailed(["Too few runs were finished to compare anything.", *left_out])
    _check_steps(arms)
    gain = measure_gain(arms, list(plan.ratios), metric=metric, seed=plan.seed)
    generator = _read(plan.gan)
    scores = {key: (generator.results or {}).get(key) for key in ("test", "extractor")}
    content = {"schema": SCHEMA, "metric": metric, "seeds": [run.seed for run in real.runs]}
    content |= gain | {"generator": {"run": generator.name, **scores}, "ratios": plan.ratios}
    return content | {"notes": [_ONE_GENERATOR, *left_out]}


def _check_steps(arms: Sequence[Arm]) -> None:
    """What ended a training early does not always show in its config: a callback may be anybody's."""
    steps = {run.name: _steps(run) for arm in arms for run in arm.runs}
    if len(set(steps.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in steps.items())
        raise RunFailed(
            f"The arms were not trained for equally many steps, so that they cannot be compared: {counts}. Find what "
            "ends some of them early, such as a callback, take it out of cnn and arms, and start again."
        )


def _steps(run: Run) -> int:
    return int(run.history[-1]["step"])
