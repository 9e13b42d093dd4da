"""As much of W&B's server as `wandb sweep`, `wandb agent` and a run that is online ask for, in this process."""

import gzip
import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

_VIEWER = {"id": "x", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}


class FakeWandb(http.server.ThreadingHTTPServer):
    """A server with one sweep and its runs.

    Attributes:
        sweep: as `wandb sweep` sent it; empty before.
        runs: by id: `project` and `sweep` as sent at the start, `summary` as of now, `history` row by row, and `exit`
            once the run has ended.
    """

    daemon_threads = True

    def __init__(self, trials: list[dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sweep: dict[str, Any] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self._trials = list(enumerate(trials))

    @property
    def environ(self) -> dict[str, str]:
        """What leads W&B here."""
        return {"WANDB_BASE_URL": f"http://127.0.0.1:{self.server_address[1]}", "WANDB_API_KEY": "x" * 40}

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a question in GraphQL; an error for what is not known."""
        named = re.search(r"(?:query|mutation)\s+(\w+)", question["query"])
        known = getattr(self, f"_{named.group(1) if named else 'Viewer'}", None)
        if known is None:
            return {"errors": [{"message": "this is not known here"}]}
        return {"data": known(question.get("variables") or {})}

    def receive(self, run: str, content: Mapping[str, Any]) -> None:
        """A part of a run's stream."""
        for name, file in (content.get("files") or {}).items():
            lines = [json.loads(line) for line in file["content"]] if "wandb-" in name else []
            if name == "wandb-summary.json":
                self.runs[run]["summary"] = lines[-1]
            elif name == "wandb-history.jsonl":
                self.runs[run]["history"] += lines
        if content.get("complete"):
            self.runs[run]["exit"] = content["exitcode"]

    def _Viewer(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"viewer": _VIEWER}

    def _UpsertSweep(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.sweep = yaml.safe_load(asked["config"])
        project = {"id": "p", "name": asked["projectName"], "entity": {"id": "e", "name": "me"}}
        return {"upsertSweep": {"sweep": {"name": "tried", "project": project}, "configValidationWarnings": []}}

    def _SweepWithRuns(self, _: Mapping[str, Any]) -> dict[str, Any]:
        sweep = {"id": "s", "name": "tried", "state": "RUNNING", "config": yaml.safe_dump(self.sweep)}
        return {"project": {"sweep": {**sweep, "runs": {"edges": []}}}}

    def _CreateAgent(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"createAgent": {"agent": {"id": "a"}}}

    def _Heartbeat(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        commands = []
        if not json.loads(asked["runState"]):
            commands = [self._next_trial() if self._trials else {"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": "a"}, "commands": json.dumps(commands)}}

    def _next_trial(self) -> dict[str, Any]:
        number, values = self._trials.pop(0)
        arguments = {name: {"value": value} for name, value in values.items()}
        return {"type": "run", "run_id": f"trial{number}", "program": self.sweep["program"], "args": arguments}

    def _RunResumeStatus(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": {"id": "p", "name": asked["project"], "entity": {"id": "e", "name": "me"}, "bucket": None}}

    def _ServerFeaturesQuery(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _UpsertBucket(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        run = self.runs.setdefault(asked["name"], {"summary": {}, "history": []})
        run.update({name: asked[name] for name in ("project", "sweep") if asked.get(name)})
        project = {"id": "p", "name": asked["project"], "entity": {"id": "e", "name": "me"}}
        bucket = {"id": "b", "name": asked["name"], "displayName": asked["name"], "config": "{}", "project": project}
        return {"upsertBucket": {"bucket": {**bucket, "sweepName": asked.get("sweep")}, "inserted": True}}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeWandb

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        content: dict[str, Any] = {}
        if self.path == "/graphql":
            content = self.server.answer(json.loads(body))
        elif self.path.endswith("/file_stream"):
            self.server.receive(self.path.split("/")[-2], json.loads(body))
        self._reply(content)

    def do_GET(self) -> None:
        self._reply({})

    def _reply(self, content: Mapping[str, Any]) -> None:
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def fake_wandb(trials: list[dict[str, Any]]) -> Iterator[FakeWandb]:
    """A server, while the block runs.

    Args:
        trials: values of a sweep's parameters, one after the other; then the agent is asked to end.
    """
    with FakeWandb(trials) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
