"""The OpenAPI document: requests made from it by schemathesis never lead to a server error."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from bench.make_store import write_store
from tune_app.web.app import create_app
from tune_app.web.settings import Settings

pytestmark = pytest.mark.slow

HOST = "localhost"


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    """An application over one store; the queue's thread is not started, so nothing is trained."""
    results = tmp_path_factory.mktemp("schema")
    write_store(results / "invented", extras=False)
    app = create_app(Settings(results=str(results)))
    app.state.token = app.state.service.tokens.create("test", "admin")
    yield app
    app.state.service.close()


def test_no_request_leads_to_a_server_error(application):
    headers = {"Authorization": f"Bearer {application.state.token}", "Host": HOST}
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", application, headers=headers)
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
        )
        @given(case=operation.as_strategy())
        def check(case):
            case.path_parameters = {
                name: "invented" if name == "name" else value for name, value in (case.path_parameters or {}).items()
            }
            answer = case.call(headers=headers, timeout=200)
            assert answer.status_code < 500, (case.as_curl_command(), answer.content[:500])

        check()
        tried += 1
    assert tried == len(documented(application))


def documented(application):
    paths = application.openapi()["paths"]
    return {(path, method) for path, methods in paths.items() for method in methods}


def test_every_route_of_the_api_is_described(application):
    routes = {
        (route.path.replace(":path", ""), method.lower())
        for route in application.routes
        if route.path.startswith("/api/") and not route.path.endswith("openapi.json")
        for method in route.methods - {"HEAD"}
    }
    assert documented(application) == routes
