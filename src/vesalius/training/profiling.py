"""Profile of the time that training steps take: `trainer=profile`."""

import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.profilers import SimpleProfiler

_STEP = "run_training_batch"
_HOOKS = 25


class StepProfiler(SimpleProfiler):
    """Times Lightning's hooks over all steps, and torch's operations over a few.

    Leaves in its folder `fit-hooks.txt`, the seconds of data loading, transfer, loss, gradients and all other hooks
    (with a GPU, the time to queue its work); `operations.txt`, a table of operations, the most expensive first; and
    `trace.json`, for https://ui.perfetto.dev.

    Args:
        skip: steps before torch's profiler records: the first ones are slower.
        steps: recorded steps.
        rows: of the table of operations.
        dirpath: the folder; None for `profile/` in the run folder.
    """

    def __init__(self, skip: int = 5, steps: int = 10, rows: int = 30, dirpath: str | None = None) -> None:
        super().__init__(dirpath=dirpath, filename="hooks")
        os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # otherwise it prints its start and the lack of a GPU
        self.skip, self.steps, self.rows = skip, steps, rows
        self._torch: torch.profiler.profile | None = None

    def start(self, action_name: str) -> None:
        """Begin with a hook, and with torch's profiler at the first step."""
        super().start(action_name)
        if action_name == _STEP and self._torch is None and not self._local_rank:
            warmup = min(2, self.skip)
            self._torch = torch.profiler.profile(
                schedule=torch.profiler.schedule(wait=self.skip - warmup, warmup=warmup, active=self.steps, repeat=1),
                on_trace_ready=self._write,
            )
            self._torch.start()

    def stop(self, action_name: str) -> None:
        """End a hook; after a step, torch's profiler goes on to the next."""
        super().stop(action_name)
        if action_name == _STEP and self._torch is not None:
            self._torch.step()

    def summary(self) -> str:
        """The slowest hooks; some run inside others."""
        rows, _, total = self._make_report_extended()
        lines = [f"{total:.1f} s in total", f"{'seconds':>10} {'calls':>7} {'ms/call':>10}  hook"]
        lines += [
            f"{sum_:>10.3f} {calls:>7} {1000 * mean:>10.3f}  {name}" for name, mean, calls, sum_, _ in rows[:_HOOKS]
        ]
        return "\n".join(lines) + "\n"

    def teardown(self, stage: str | None) -> None:
        """End torch's profiler if there were fewer steps than it waited for."""
        if self._torch is not None:
            self._torch.stop()
            self._torch = None
        super().teardown(stage)

    def _write(self, recorded: Any) -> None:
        folder = Path(str(self.dirpath))
        folder.mkdir(parents=True, exist_ok=True)
        order = "self_device_time_total" if torch.accelerator.is_available() else "self_cpu_time_total"
        table = recorded.key_averages().table(sort_by=order, row_limit=self.rows, max_name_column_width=60)
        (folder / "operations.txt").write_text(f"{self.steps} training steps\n{table}\n", encoding="utf-8")
        recorded.export_chrome_trace(str(folder / "trace.json"))
