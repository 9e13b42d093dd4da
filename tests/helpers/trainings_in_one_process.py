"""The work of a sweep's jobs and nothing else: one after another in a process that has imported everything.

Run as `python trainings_in_one_process.py FOLDER NUMBER OVERRIDE...`; prints the seconds of each training.
"""

import sys
import time
from pathlib import Path

from small_runs import train_in

folder, number, *overrides = sys.argv[1:]
for seed in range(int(number) + 1):
    begun = time.perf_counter()
    train_in(Path(folder) / str(seed), [*overrides, f"seed={seed}"])
    if seed:  # the first one imports
        sys.stderr.write(f"seconds {time.perf_counter() - begun}\n")
