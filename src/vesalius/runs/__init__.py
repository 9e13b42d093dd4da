"""Run folders and sweep folders on disk: writing them, finding and reading runs, grouping runs into arms."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "arms": ["Arm", "arms_by", "arms_of"],
        "find": ["FoundRuns", "find_finished", "find_runs", "latest_run"],
        "outcome": ["Outcome"],
        "run": ["Run"],
        "run_folder": ["RunFolder"],
        "sweep_folder": ["SweepFolder"],
    },
)
