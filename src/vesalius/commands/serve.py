"""`python -m vesalius.commands.serve DIR`: a model as a web page and an HTTP interface, until it is stopped."""

import os
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from vesalius.config.errors import InputError
from vesalius.config.targets import import_extra
from vesalius.deploy.bundle.reading import CARD_HTML, Bundle
from vesalius.deploy.loading import load
from vesalius.deploy.predictor import Predictor
from vesalius.launch.worker import enter, leave
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
        tempfile.tempdir = None  # whatever this process does next has its own
        folder.discard()


def _serve(config: dict[str, Any], path: Path) -> None:
    for package in _PACKAGES:
        import_extra(package, "vesalius serve")
    from vesalius.deploy.serve import Limits, create_app, hosts_of, is_loopback, listen, run_server

    limits, host = Limits(**config["limits"]), config["host"]
    token = None if config["token"] is None else read_token(Path(config["token"]))
    if token is None and not is_loopback(host):
        raise InputError(f"host={host} can be reached from other machines: name a file with a token in token=.")
    if config["dicom"] is not None:
        check_node(config)
    uploads = path / "uploads"
    uploads.mkdir()
    tempfile.tempdir = str(uploads)  # also of large uploads while they are received
    with listen(host, config["port"]) as opened:
        model, name, card = _model(config)
        threads = 1 if config["bundle"] is None else min(_MOST_THREADS, os.cpu_count() or 1)
        options = {"name": name, "threads": threads, "token": token, "hosts": hosts_of(host), "card": card}
        predictor = load(model)
        app = create_app(predictor, limits, uploads, **options)
        address = f"[{host}]" if ":" in host else host
        message = f"Serving {model} at http://{address}:{opened.getsockname()[1]}/ (Ctrl-C ends it)."
        with _node(config, model, predictor):
            command_console().print(message, soft_wrap=True, highlight=False, markup=False)
            run_server(app, opened, limits)


def check_node(config: dict[str, Any]) -> None:
    """Check the options of the DICOM node before the model is loaded.

    Raises:
        InputError: for a port, title, host or peer that cannot be, or a package that is missing.
    """
    from vesalius.deploy.dicom.peer import peer_at
    from vesalius.deploy.serve import is_loopback

    port, pacs = config["dicom"], config["pacs"]
    for package in ("highdicom", "pynetdicom"):
        import_extra(package, f"dicom={port}")
    if not 0 <= port < 2**16:
        raise InputError(f"dicom={port}: must lie between 0 and 65535.")
    if pacs["reply"] is None:
        raise InputError(f"dicom={port}: name the node that gets the reports, pacs.reply=TITLE@HOST:PORT.")
    peer_at(pacs["reply"], pacs["title"])
    for title in (pacs["title"], *(pacs["callers"] or ())):
        if not 0 < len(title.strip()) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
            raise InputError(f"{title!r} is no title of a DICOM node: give 1 to 16 letters, digits or underscores.")
    if not is_loopback(pacs["host"]) and not pacs["callers"]:
        raise InputError(
            f"pacs.host={pacs['host']} can be reached from other machines: name the titles that may send in "
            "pacs.callers=[TITLE]."
        )


def _node(config: dict[str, Any], model: Path, predictor: Predictor) -> AbstractContextManager[Any]:
    """The DICOM node, which listens within the context; nothing where there is none."""
    if config["dicom"] is None:
        return nullcontext()
    from vesalius.deploy.dicom.inbox import Limits
    from vesalius.deploy.dicom.peer import peer_at
    from vesalius.deploy.dicom.receiver import Receiver

    pacs, limits = config["pacs"], config["limits"]
    return Receiver(
        predictor if config["run"] is None else load(model),  # explanations change a model of torch meanwhile
        peer_at(pacs["reply"], pacs["title"]),
        port=config["dicom"],
        host=pacs["host"],
        ae_title=pacs["title"],
        callers=pacs["callers"],
        limits=Limits(
            file_bytes=int(limits["megabytes"] * 2**20), study_files=limits["files"], idle_seconds=limits["seconds"]
        ),
        explain=pacs["explain"],
    )


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
    leave(enter(serve, sys.argv[1:]))
