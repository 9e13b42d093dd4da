"""`python -m vesalius.commands.serve DIR`: a model as a web page and an HTTP interface, until it is stopped."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from vesalius.config.errors import InputError
from vesalius.config.targets import import_extra
from vesalius.deploy.bundle.reading import CARD_HTML, Bundle
from vesalius.deploy.loading import load
from vesalius.launch.worker import enter
from vesalius.runs.run_folder import RunFolder
from vesalius.terminal import command_console

_SHORTEST_TOKEN, _MOST_THREADS = 16, 8
_PACKAGES = ("fastapi", "python_multipart", "uvicorn")


def serve(path: Path) -> None:
    """Serve; the folder is private to it and goes when it ends, with whatever was uploaded last."""
    folder = RunFolder(path)
    try:
        _serve(folder.config, path)
    finally:
        folder.discard()


def _serve(config: dict[str, Any], path: Path) -> None:
    for package in _PACKAGES:
        import_extra(package, "vesalius serve")
    from vesalius.deploy.serve import Limits, create_app, hosts_of, is_loopback, listen, run_server

    limits, host = Limits(**config["limits"]), config["host"]
    token = None if config["token"] is None else read_token(Path(config["token"]))
    if token is None and not is_loopback(host):
        raise InputError(f"host={host} can be reached from other machines: name a file with a token in token=.")
    uploads = path / "uploads"
    uploads.mkdir()
    tempfile.tempdir = str(uploads)  # also of large uploads while they are received
    with listen(host, config["port"]) as opened:
        model, name, card = _model(config)
        threads = 1 if config["bundle"] is None else min(_MOST_THREADS, os.cpu_count() or 1)
        options = {"name": name, "threads": threads, "token": token, "hosts": hosts_of(host), "card": card}
        app = create_app(load(model), limits, uploads, **options)
        address = f"[{host}]" if ":" in host else host
        message = f"Serving {model} at http://{address}:{opened.getsockname()[1]}/ (Ctrl-C ends it)."
        command_console().print(message, soft_wrap=True, highlight=False, markup=False)
        run_server(app, opened, limits)


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        InputError: if there is none, or it can be guessed.
    """
    try:
        token = path.expanduser().read_text(encoding="ascii").partition("\n")[0].strip()
    except (OSError, UnicodeError):
        raise InputError(f"token={path} cannot be read: name a file whose first line is the token.") from None
    if len(token) < _SHORTEST_TOKEN or not token.isprintable():
        raise InputError(f"token={path}: its first line must be a token of {_SHORTEST_TOKEN} characters or more.")
    return token


def _model(config: dict[str, Any]) -> tuple[Path, str, str | None]:
    """The folder of the model, its name, and its card if it has one."""
    if config["bundle"] is None:
        return Path(config["run"]), RunFolder(config["run"]).config.get("name") or "model", None
    bundle = Bundle(config["bundle"])
    card = bundle.read(CARD_HTML).decode("utf-8", "replace") if bundle.has(CARD_HTML) else None
    return bundle.path, bundle.manifest.name, card


if __name__ == "__main__":
    sys.exit(enter(serve, sys.argv[1:]))
