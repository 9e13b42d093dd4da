"""One file a verb. Each runs in an interpreter of its own: `python -m vesalius.commands.<verb> DIR`."""

import gc
import signal
import sys

if sys.argv[0] == "-m":  # what Python puts there while it looks for the module to run
    # Imports make a million objects that live to the end; looking for garbage among them costs a fifth of the
    # start. `vesalius.launch.worker.enter` switches the collector on again once everything is imported.
    gc.disable()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C among the imports: no traceback; `enter` takes over later
