"""What a process frees, it need not get from the system again."""

import os
import platform
import subprocess
import sys

import pytest

from vesalius.launch import allocator

#: Prints how many pages the system gave for arrays whose like were freed before, and how many pages these have.
AGAIN = """
import resource
from vesalius.launch.allocator import keep_freed_memory

def fill():
    return [b"x" * 20 * 2**20 for _ in range(4)]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_freed_memory()
fill()
before = faults()
fill()
print(faults() - before, 80 * 2**20 // resource.getpagesize())
"""


def pages(**variables: str) -> tuple[int, int]:
    env = {name: value for name, value in os.environ.items() if name not in allocator._VARIABLES} | variables
    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True, env=env)
    given, held = map(int, done.stdout.split())
    return given, held


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_freed_memory_is_kept_unless_the_user_has_decided() -> None:
    given, held = pages()
    assert given < held / 10
    given, held = pages(MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072")
    assert given > held / 2
