"""The training runs below a folder: all of them, or those that are finished."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.config.errors import InputError
from vesalius.runs.reading import describe_error, overrides_by_key, read_or, read_sweep
from vesalius.runs.redaction import text_without_paths
from vesalius.runs.run import Run, read_run
from vesalius.runs.run_folder import CONFIG, METRICS, RunFolder
from vesalius.runs.sweep_folder import SWEEP


@dataclass(frozen=True)
class FoundRuns:
    """Every training run at or below a folder.

    Attributes:
        path: the folder.
        runs: in the order of their folders' names, jobs without a folder where they would be.
        sweep: content of `sweep.json`; empty where there is none.
        notes: sentences on what could not be read.
    """

    path: Path
    runs: list[Run]
    sweep: Mapping[str, Any]
    notes: list[str]


def find_runs(path: Path) -> FoundRuns:
    """Read all runs at or below a folder, at any stage.

    Args:
        path: a run folder, or one with runs below it at any depth, such as a sweep's.

    Raises:
        InputError: for a folder that is not there or holds no training run.
    """
    check_holds_runs(path)
    runs, notes = list[Run](), list[str]()
    for inside in _run_folders(path, notes):
        name = path.resolve().name if inside == path else inside.relative_to(path).as_posix()
        run, damage = read_run(inside, name)
        runs += [] if run is None else [run]
        notes += damage
    nothing: dict[str, Any] = {}
    sweep = read_or(read_sweep, path / SWEEP, nothing, "The sweep", notes)
    runs += _jobs_without_folder(path, sweep)
    runs.sort(key=lambda run: _order(Path(run.name).parts))
    if not runs:
        raise InputError([_no_run(path), *notes])
    return FoundRuns(path, runs, sweep, notes)


def check_holds_runs(path: Path) -> None:
    """Refuse a folder without runs, before anything is written into it.

    Raises:
        InputError: for a folder that is not there, or without any run or sweep.
    """
    # Hydra has created a folder of that name by now, if there was none.
    if not (path / SWEEP).is_file() and next(_run_folders(path, []), None) is None:
        raise InputError(_no_run(path))


def find_finished(named: Sequence[str]) -> tuple[list[Run], list[str]]:
    """Read the finished runs in some folders, in the order named; below a folder, in the order of their names.

    Args:
        named: run folders, and folders that hold runs at any depth, such as a sweep's.

    Returns:
        The runs, each once, and one sentence per run below a folder that is left out because it is not finished.

    Raises:
        InputError: for a folder that is not there, holds no run, or is itself a run that is not finished.
    """
    found: dict[Path, Run] = {}
    problems, left_out = list[str](), list[str]()
    for path in map(Path, named):
        if not path.is_dir():
            problems.append(f"runs: {path} is not a folder.")
            continue
        itself, before, finished = (path / CONFIG).is_file(), len(problems), 0
        for inside in _run_folders(path, left_out):
            run, damage = read_run(inside, short_name(inside))
            fault = _fault(run)
            if run is not None and fault is None:
                found.setdefault(inside.resolve(), run)
                finished += 1
            elif itself:
                problems += [f"runs: {path} {fault}.", *damage] if run or not damage else [f"runs: {damage[0]}"]
            elif run is not None:
                left_out += [*damage, f"{run.name} {fault}: it is left out."]
            else:
                left_out += damage  # of another verb there is none
        if not finished and before == len(problems):
            problems.append(f"runs: {path} holds no finished run; name run folders, or a folder with runs below it.")
    if problems:
        raise InputError(problems)
    return list(found.values()), left_out


def short_name(path: Path) -> str:
    """The last two parts of a path: what others may read holds no whole one."""
    return "/".join(path.resolve().parts[-2:])


def _fault(run: Run | None) -> str | None:
    """Why a run cannot be compared; None where it can."""
    if run is None or run.folder is None:
        return "is no training run; name the folder that `vesalius train` wrote"
    if run.state != "done":
        return f"is {'not started' if run.state == 'waiting' else run.state}"
    if run.results is None:
        return "is done, but has no metrics that can be read"
    if not (run.folder.predictions / "test.csv").is_file():
        return "is done, but has no test predictions"
    return None


def _no_run(path: Path) -> str:
    return (
        f"run={path}: there is no such folder, or no training run in it or below it: name a run's folder or a sweep's."
    )


def _run_folders(path: Path, notes: list[str]) -> Iterator[Path]:
    """Folders with a config at or below `path`; nothing inside one, such as an evaluation, is searched.

    A link to what is met under its own name too, such as `latest`, is no run of its own.
    """
    seen: set[Path] = set()

    def walk(folder: Path) -> Iterator[Path]:
        if folder.resolve() in seen:
            return
        seen.add(folder.resolve())
        try:
            if (folder / CONFIG).is_file():
                yield folder
                return
            children = [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
        except OSError as error:
            notes.append(f"{folder.name} is left out: {describe_error(error)}")
            return
        for child in sorted(children, key=lambda child: (child.is_symlink(), *_order((child.name,)))):
            yield from walk(child)

    return walk(path)


def _order(parts: tuple[str, ...]) -> list[tuple[bool, str]]:
    """Job 10 comes after job 9, and both before names."""
    return [(not part.isdigit(), part.zfill(12) if part.isdigit() else part) for part in parts]


def _jobs_without_folder(path: Path, sweep: Mapping[str, Any]) -> Iterator[Run]:
    for job in sweep.get("jobs", []):
        if not (path / str(job["number"]) / CONFIG).is_file():
            reason = text_without_paths(str(job["reason"])) if job.get("reason") else None
            state = str(job.get("state", "waiting"))
            yield Run(str(job["number"]), None, {}, overrides_by_key(job.get("overrides") or []), state, reason)


def latest_run(parent: Path) -> RunFolder:
    """The newest finished run among the folders in `parent`.

    Raises:
        InputError: if there is none.
    """
    runs = [RunFolder(path.parent) for path in sorted(parent.glob(f"*/{CONFIG}"))]
    done = [run for run in runs if run.state.get("state") == "done" and (run.path / METRICS).is_file()]
    if not done:
        raise InputError(f"{parent} holds no finished run: train one with `vesalius train`.")
    return max(done, key=lambda run: str(run.state.get("ended", "")))
