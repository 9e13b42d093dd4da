"""The scheduler of a sweep: starts jobs in free slots until all have ended or a signal stops it. Torch-free."""

import math
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from vesalius.config.errors import InputError
from vesalius.launch.child import work_command
from vesalius.launch.launch import objective_of, record_exit
from vesalius.launch.resume_despite import check_code
from vesalius.runs.run_folder import CONFIG, PATIENCE, RunFolder
from vesalius.runs.sweep_folder import FINISHED, SweepFolder, SweepJob
from vesalius.sweeps.live_table import SweepBoard, job_line
from vesalius.sweeps.local_pool import Ended, Pool

Jobs = Iterator[tuple[int, list[str]]]
Done = Callable[[SweepJob], None]
Tick = Callable[[Mapping[int, Path]], None]
Prepare = Callable[[int, list[str]], RunFolder]

_PAUSE = 0.05  # seconds between polls of the processes
_TICK = 0.5  # seconds between reads of what they have written


@dataclass
class JobStream:
    """Runs the jobs of a sweep.

    Args:
        sweep: the sweep's folder.
        verb: of every job.
        pool: runs the jobs, here or on a cluster.
        prepare: composes a job's config and creates its run folder; raises InputError for a bad config.
        board: shows the state of the jobs.
    """

    sweep: SweepFolder
    verb: str
    pool: Pool
    prepare: Prepare
    board: SweepBoard
    _running: dict[int, tuple[list[str], RunFolder]] = field(default_factory=dict, init=False)
    _signals: list[int] = field(default_factory=list, init=False)
    _stopped_by: int | None = field(default=None, init=False)

    def run(self, jobs: Jobs, done: Done, tick: Tick | None = None) -> None:
        """Run all jobs; those of an earlier attempt that are finished are kept, and those that were stopped go on.

        Args:
            jobs: number and overrides; asked for the next one when a slot is free.
            done: called at each end.
            tick: called every half second with the run folders of the running jobs.

        Raises:
            SystemExit: 130 or 143 where a signal stopped the sweep, after all jobs have saved what there is.
        """
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with self.board:
                self._run(jobs, done, tick)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._stopped_by is not None:
            resume = shlex.quote(f"resume={self.sweep.path}")
            sys.stderr.write(f"The sweep was stopped. Go on with: vesalius {self.verb} -m {resume}\n")
            raise SystemExit(128 + self._stopped_by)

    def _run(self, jobs: Jobs, done: Done, tick: Tick | None) -> None:
        ticked, exhausted = 0.0, False
        try:
            while True:
                while self.pool.free and not exhausted and not self._signals:
                    job = next(jobs, None)
                    exhausted = job is None
                    if job is not None:
                        self._start(*job, done)
                self._handle_signals()
                for ended in self.pool.ended():
                    self._end(ended, done)
                if not self._running and (exhausted or self._stopped_by is not None):
                    return
                if tick is not None and self._running and time.monotonic() - ticked > _TICK:
                    ticked = time.monotonic()
                    tick({number: folder.path for number, (_, folder) in self._running.items()})
                self.board.update()
                time.sleep(_PAUSE)
        finally:
            if self._running:  # something here has failed: no job is left running
                self.pool.stop(signal.SIGTERM)
                while self._running:
                    for ended in self.pool.ended():
                        self._end(ended, lambda job: None)
                    time.sleep(_PAUSE)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)  # only noted: it may come in the middle of anything

    def _handle_signals(self) -> None:
        """The first signal has all jobs save and end; a second one kills them."""
        if self._signals and self._stopped_by is None:
            self._stopped_by = self._signals[0]
            self.board.say(f"Stopping: {len(self._running)} jobs save what there is; a second Ctrl-C kills them.")
            self.pool.stop(self._stopped_by)
        if len(self._signals) > 1:
            self.pool.kill()

    def _start(self, number: int, overrides: list[str], done: Done) -> None:
        path = self.sweep.path / str(number)
        self._register(number, overrides)
        try:
            folder, goes_on = self._folder(number, overrides)
        except InputError as error:
            self._record(SweepJob(number, tuple(overrides), path, "refused", reason=" ".join(error.problems)), done)
            return
        if folder.state.get("state") in FINISHED:
            self._record(self._job(number, overrides, path), done)
            return
        self.sweep.write_job(number, overrides, state="running")
        self.pool.start(number, work_command(self.verb, path), path)
        self._running[number] = overrides, folder  # only now: a job that could not start never ends
        self.board.started(number, overrides, folder, goes_on=goes_on)

    def _folder(self, number: int, overrides: list[str]) -> tuple[RunFolder, bool]:
        """The run folder of a job, and whether there is something to go on with: only in a sweep that is resumed."""
        path = self.sweep.path / str(number)
        if (path / CONFIG).is_file():
            folder = RunFolder(path)
            if self.sweep.cluster_name(number) is None:  # a scheduler's job is no orphan
                self._wait_for_orphan(folder)
            state = folder.state.get("state")
            if state not in ("failed", *FINISHED):
                check_code(folder)
            if state != "failed":
                return folder, bool(folder.state)
        if path.exists():
            shutil.rmtree(path)  # of a job that has failed, or that was killed while its folder was created
        return self.prepare(number, overrides), False

    def _register(self, number: int, overrides: list[str]) -> None:
        """List a job before its folder is created: a folder that is not listed belongs to somebody else."""
        if self.sweep.has_job(number):
            return
        if (self.sweep.path / str(number)).exists():
            raise InputError(f"{self.sweep.path / str(number)} was not created by this sweep: move it, then resume.")
        self.sweep.write_job(number, overrides, state="waiting")

    def _wait_for_orphan(self, folder: RunFolder) -> None:
        """The jobs of a sweep that was killed save what there is, which takes a moment."""
        deadline = time.monotonic() + PATIENCE
        while folder.alive:
            if time.monotonic() > deadline or self._signals:
                raise InputError(
                    f"{folder.path} is still being worked on by process {folder.state.get('pid')}: stop it."
                )
            time.sleep(_PAUSE)

    def _end(self, ended: Ended, done: Done) -> None:
        overrides, folder = self._running.pop(ended.number)
        path = folder.path
        if not (path / CONFIG).is_file():  # its check of the config has taken the folder away
            problems = [line.removeprefix("Error: ") for line in ended.last_lines if line.startswith("Error: ")]
            reason = " ".join(problems) or "see its message above"
            job = SweepJob(ended.number, tuple(overrides), path, "refused", reason=reason)
            self._record(job, done)
            return
        code = record_exit(folder, ended.code)
        state = folder.state.get("state")
        if code == 0 and state is None:  # of a verb that keeps no state
            folder.end("done", None)
        elif state not in ("done", "failed", "interrupted", "pruned") or (code == 1 and state != "failed"):
            reason = ended.last_lines[-1] if ended.last_lines else f"exit code {code}"
            folder.end("interrupted" if code in (130, 143) else "failed", reason)
        if ended.code == -signal.SIGKILL:
            killed = self._stopped_by is not None
            folder.end(*(("interrupted", "killed") if killed else ("failed", "SIGKILL: was there not enough memory?")))
        self._record(self._job(ended.number, overrides, path), done, ended.last_lines)

    def _job(self, number: int, overrides: list[str], path: Path) -> SweepJob:
        state, best = RunFolder(path).state, objective_of(path)
        objective = best if math.isfinite(best) else None
        return SweepJob(number, tuple(overrides), path, state["state"], objective, state.get("reason"))

    def _record(self, job: SweepJob, done: Done, last_lines: Sequence[str] = ()) -> None:
        entry: dict[str, Any] = {"state": job.state, "objective": job.objective, "reason": job.reason}
        self.sweep.write_job(job.number, job.overrides, **entry)
        self.board.ended(job, last_lines)
        done(job)


def end_of_sweep(path: Path) -> int:
    """Print which jobs of a sweep are not finished, and how to see the others on one page.

    Args:
        path: the sweep's folder.

    Returns:
        The exit code: 1 with unfinished jobs, or with a finished trial that has no value of the objective.
    """
    sweep = SweepFolder(path)
    uncounted = sweep.content.get("study", {}).get("failed", {})
    left = [job for job in sweep.jobs if job.state not in FINISHED]
    for job in left:
        sys.stderr.write(f"Error: {job_line(job, job.path)}\n")
    without_value = [job for job in sweep.jobs if job.state in FINISHED and str(job.number) in uncounted]
    for job in without_value:
        sys.stderr.write(f"Error: trial {job.number} does not count: {uncounted[str(job.number)]}\n")
    if sweep.content["verb"] == "train" and len(left) < len(sweep.jobs):
        sys.stdout.write(f"All runs on one page: vesalius report {shlex.quote(f'run={path}')}\n")
    if (path / "wandb").is_dir():
        sys.stdout.write(f"All runs to W&B: wandb sync {path / 'wandb'}\n")
    return int(bool(left or without_value))
