"""What a console does when nobody reads it any more."""

import subprocess
import sys

PROGRAM = """
import sys
from vesalius.terminal import command_console

console = command_console()
for _ in range(2_000):
    console.print("a line " * 12)
sys.stderr.write("the work is done")
"""


def test_work_goes_on_after_its_reader_has_left():
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b"the work is done"
    assert process.wait() == 0
