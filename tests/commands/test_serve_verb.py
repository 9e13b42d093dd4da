"""`vesalius serve` from its command line: what it refuses before it begins, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from vesalius.commands import serve as verb
from vesalius.commands.serve import read_token
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError
from vesalius.deploy.serve import hosts_of, is_loopback, listen
from vesalius.runs.run_folder import RunFolder

RUN = Path(__file__).parents[1] / "stored_runs/cnn/finished"


def refusal(tmp_path, *overrides: str) -> str:
    """The message of a server that does not begin; its folder is gone then."""
    folder = RunFolder.create(tmp_path / "folder", load_config("serve", [f"run={RUN}", *overrides]), [])
    with pytest.raises(InputError) as refused:
        verb.serve(folder.path)
    assert not folder.path.exists()
    return str(refused.value)


def test_another_host_needs_a_token_that_cannot_be_guessed(tmp_path):
    assert refusal(tmp_path, "host=0.0.0.0").startswith("host=0.0.0.0 can be reached from other machines: ")
    assert "cannot be read" in refusal(tmp_path, f"token={tmp_path}/none")
    for text in ("", "short\n", "\n" + "a" * 40, "\x00" * 40, "é" * 40):
        (tmp_path / "token").write_text(text)
        with pytest.raises(InputError):
            read_token(tmp_path / "token")
    (tmp_path / "token").write_text("a long enough token\nmore\n")
    assert read_token(tmp_path / "token") == "a long enough token"


def test_limits_and_ports_that_cannot_be_are_refused(tmp_path):
    assert refusal(tmp_path, "limits.seconds=0") == "limits.seconds=0.0: must be above 0."
    assert "between 0 and 65535" in refusal(tmp_path, "port=70000")


def test_a_port_in_use_and_an_address_of_elsewhere_are_refused():
    with listen("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        with pytest.raises(InputError, match=f"port={port} is in use: "):
            listen("127.0.0.1", port)
    for host in ("192.0.2.1", "no.such.host.invalid", "a" * 300):
        with pytest.raises(InputError, match="is no address of this machine"):
            listen(host, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_the_loopback_interface_is_known(host):
    assert is_loopback(host)
    assert host in hosts_of(host)
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("192.168.0.1")
    assert hosts_of("0.0.0.0") == frozenset()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dicom=11112"], "dicom=11112: name the node that gets the reports, pacs.reply=TITLE@HOST:PORT."),
        (["dicom=70000", "pacs.reply=A@b:1"], "dicom=70000: must lie between 0 and 65535."),
        (["dicom=0", "pacs.reply=nobody"], "pacs.reply=nobody: give TITLE@HOST:PORT"),
        (["dicom=0", "pacs.reply=A@b:1", "pacs.title=FAR_TOO_LONG_A_TITLE"], "is no title of a DICOM node"),
        (["dicom=0", "pacs.reply=A@b:1", "pacs.host=0.0.0.0"], "name the titles that may send in pacs.callers"),
        pytest.param(
            ["dicom=0", "pacs.reply=A@b:1", "pacs.explain=magic"],
            "explain=magic: there is no such method",
            marks=pytest.mark.slow,  # the model is loaded
        ),
    ],
)
def test_a_dicom_node_that_cannot_be_is_refused(overrides, message, tmp_path):
    pytest.importorskip("highdicom")
    assert message in refusal(tmp_path, "port=0", *overrides)


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert refusal(tmp_path) == "vesalius serve needs the package 'uvicorn': pip install 'vesalius[deploy]'"


@pytest.mark.slow
def test_it_serves_until_ctrl_c_and_leaves_nothing(tmp_path):
    command = [
        sys.executable,
        "-m",
        "vesalius.cli",
        "serve",
        f"run={RUN}",
        "port=0",
        f"hydra.run.dir={tmp_path}/private",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    address = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())[0]
    with urllib.request.urlopen(f"{address}model") as reply:
        assert json.load(reply)["classes"] == ["healthy", "nodule", "cyst", "spiculated"]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "Interrupted by Ctrl-C.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_serving_a_bundle_imports_no_torch():
    modules = "sys, vesalius.commands.serve, vesalius.deploy.bundle.backend, vesalius.deploy.serve.app"
    imported = f"import {modules}"
    heavy = ["torch", "pytorch_lightning", "sklearn", "matplotlib"]
    command = [sys.executable, "-c", f"{imported}; sys.exit(str([name for name in {heavy} if name in sys.modules]))"]
    assert subprocess.run(command, capture_output=True, text=True).stderr.strip() == "[]"
