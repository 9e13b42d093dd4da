"""A process that serves the model of `brightness_model`: prints its port, then serves until a signal comes."""

import sys
from pathlib import Path

from brightness_model import BrightnessBackend
from vesalius.deploy.predictor import Predictor
from vesalius.deploy.serve import Limits, create_app, hosts_of, listen, run_server

LIMITS = Limits(megabytes=8, files=50, pixels=2**22, frames=64, seconds=5, requests=16)

if __name__ == "__main__":
    opened = listen("127.0.0.1", 0)
    sys.stdout.write(f"{opened.getsockname()[1]}\n")
    sys.stdout.flush()
    app = create_app(
        Predictor(BrightnessBackend()), LIMITS, Path(sys.argv[1]), name="brightness", hosts=hosts_of("127.0.0.1")
    )
    run_server(app, opened, LIMITS)
