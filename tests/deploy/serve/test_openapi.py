"""Requests that are drawn from the server's own description get what it describes."""

import pytest

from brightness_model import BrightnessBackend
from vesalius.deploy.predictor import Predictor
from vesalius.deploy.serve import Limits, create_app

schemathesis = pytest.importorskip("schemathesis", reason="takes schemathesis: pip install 'vesalius[dev]'")
checks = schemathesis.checks
HealthCheck, settings = (getattr(pytest.importorskip("hypothesis"), name) for name in ("HealthCheck", "settings"))
checks.load_all_checks()
CHECKED = [
    checks.CHECKS.get_one(name)
    for name in (
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_schema_conformance", "unsupported_method"),
    )
]


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    limits = Limits(megabytes=2, files=8, pixels=2**20, frames=24, seconds=20, requests=4)
    folder = tmp_path_factory.mktemp("uploads")
    app = create_app(Predictor(BrightnessBackend()), limits, folder, name="brightness", card="<p>a card</p>")
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    assert list(folder.iterdir()) == []


described = schemathesis.pytest.from_fixture("api")


@pytest.mark.slow
@described.parametrize()
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_request_gets_a_response_that_is_described(case):
    case.call_and_validate(checks=CHECKED)
