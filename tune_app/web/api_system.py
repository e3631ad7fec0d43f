"""Routes of the API about the service itself: health, schema, metrics, the OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from search_spaces.study_schema import json_schema
from tune_app.web.access import Reader, public
from tune_app.web.run_models import Health
from tune_app.web.service import TheService

router = APIRouter(prefix="/api/v1", tags=["service"])


@router.get("/healthz", summary="The server answers")
@public
def health() -> Health:
    """Return ok; the only route of the API without a token."""
    return Health()


@router.get("/schema", summary="JSON Schema of a study file")
def schema(who: Reader) -> dict[str, Any]:
    """Return the schema for editors."""
    return json_schema()


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request, who: Reader) -> JSONResponse:
    """Return the OpenAPI document."""
    return JSONResponse(request.app.openapi())


@router.get("/metrics", summary="Counters for Prometheus", response_class=PlainTextResponse)
def metrics(who: Reader, service: TheService) -> PlainTextResponse:
    """Return counters in Prometheus' text format."""
    return PlainTextResponse("\n".join(_lines(service)) + "\n", media_type="text/plain; version=0.0.4; charset=utf-8")


def _lines(service: TheService) -> list[str]:
    studies = service.index.studies()
    with service.lock:
        requests = dict(service.requests)
    lines = ["# TYPE tune_app_requests_total counter"]
    lines += [
        f'tune_app_requests_total{{method="{method}",status="{status}"}} {count}'
        for (method, status), count in sorted(requests.items())
    ]
    lines += ["# TYPE tune_app_studies gauge", f"tune_app_studies {len(studies)}"]
    lines += ["# TYPE tune_app_trials gauge", f"tune_app_trials {sum(len(study.trials) for study in studies)}"]
    lines += ["# TYPE tune_app_runs gauge"]
    counts = service.database.rows("SELECT state, count(*) AS n FROM runs GROUP BY state ORDER BY state")
    return lines + [f'tune_app_runs{{state="{row["state"]}"}} {row["n"]}' for row in counts]
