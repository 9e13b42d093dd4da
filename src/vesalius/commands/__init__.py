"""The verbs, one file each: `python -m vesalius.commands.<verb> DIR` runs one in an interpreter of its own."""

import gc
import signal
import sys

if sys.argv[0] == "-m":  # what Python puts there while it looks for the module to run
    # Imports create a million objects that live to the end; searching them for garbage costs a fifth of the start.
    # `vesalius.launch.worker.enter` switches the collector on again once everything is imported.
    gc.disable()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C among the imports: no traceback; `enter` takes over later
