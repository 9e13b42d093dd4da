"""W&B's server may hang, be away or refuse the key: a run neither waits nor stops, and offline means offline."""

import http.server
import json
import socket
import threading
import time
from pathlib import Path

import pytest
import wandb

import leet
from vesalius.training.tracking.wandb import WandbTracker
from vesalius.training.tracking.wandb_server import choose_mode


@pytest.fixture
def closed_port():
    """The address of a port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def use_server(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """W&B reads its settings once, so it is restarted."""
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", address)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_ERROR_REPORTING", raising=False)
    wandb.teardown()


@pytest.fixture
def server(monkeypatch):
    """A server that accepts requests and does not reply; with `known`, only who the user is."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            question = self.rfile.read(int(self.headers["Content-Length"])).decode()
            listener.asked.append(f"{self.path} {question}")
            if not (listener.known and "viewer" in question) and listener.status == 200:
                over.wait(30)
                return
            viewer = {"id": "x", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}
            answer = json.dumps({"data": {"viewer": viewer}}).encode()
            self.send_response(listener.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            """Nothing."""

    over = threading.Event()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        listener.asked, listener.known, listener.status = [], False, 200
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        use_server(monkeypatch, f"http://127.0.0.1:{listener.server_address[1]}")
        yield listener
        over.set()
        wandb.teardown()
        listener.shutdown()


def test_offline_stays_offline():
    assert choose_mode("offline") == ("offline", None)


def test_online_without_a_key_stays_offline(monkeypatch):
    monkeypatch.setattr(type(wandb.api), "api_key", None, raising=False)
    mode, reason = choose_mode("online")
    assert mode == "offline"
    assert "wandb login" in reason


def test_a_server_that_is_not_there_costs_nothing(monkeypatch, closed_port):
    use_server(monkeypatch, closed_port)
    started = time.perf_counter()
    mode, reason = choose_mode("online")
    assert mode == "offline"
    assert "does not reply" in reason
    assert "refused" in reason
    assert time.perf_counter() - started < 3
    wandb.teardown()


@pytest.mark.parametrize("known", [False, True])
def test_a_server_that_hangs_is_not_waited_for(tmp_path: Path, server, caplog, known):
    """It never replies, or only to the first request."""
    server.known = known
    tracker = WandbTracker(mode="online", wait=2.0)
    started = time.perf_counter()
    tracker.begin(tmp_path, {}, "name")
    tracker.log_epoch({"epoch": 0, "train/loss": 0.1})
    tracker.finish({}, {})
    assert time.perf_counter() - started < 5
    assert caplog.text.count("W&B stays offline") == 1
    assert not tracker.failed
    assert len(leet.epochs(leet.whole_log(tmp_path))) == 1


def test_an_offline_run_sends_the_server_nothing(tmp_path: Path, server):
    tracker = WandbTracker(mode="offline")
    tracker.begin(tmp_path, {}, "name")
    tracker.log_epoch({"epoch": 0, "train/loss": 0.1})
    tracker.finish({}, {})
    wandb.teardown()
    assert leet.whole_log(tmp_path)
    assert server.asked == []


def test_a_key_that_is_not_accepted_has_a_message(server):
    server.status = 401
    mode, reason = choose_mode("online")
    assert mode == "offline"
    assert "wandb login --relogin" in reason
