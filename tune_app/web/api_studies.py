"""Routes of the API that read studies."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from tune_app.tuning.store.live import is_current
from tune_app.web import files, trials
from tune_app.web.access import Reader
from tune_app.web.curves import Group, curves, trial_curve
from tune_app.web.index import StudyIndex
from tune_app.web.models import Curves, Effects, StoredFile, StudyDetail, StudyList, TrialDetail, TrialPage
from tune_app.web.problems import ProblemError
from tune_app.web.run_models import StudyPlan
from tune_app.web.service import Service, TheService, answer
from tune_app.web.submissions import plan
from tune_app.web.summaries import curve_metrics, detail, metric_of

router = APIRouter(prefix="/api/v1/studies", tags=["studies"])
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'none'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
SHOWN_RUNS = 10
"""Latest runs that a study's page shows."""
Text = Annotated[str | None, Query(max_length=200)]


def version_of(service: Service, study: StudyIndex) -> tuple[Any, ...]:
    """Return what changes whenever anything that is shown of a study changes."""
    runs = tuple((run.id, run.state) for run in service.runs.listed(study.name, SHOWN_RUNS))
    return study.version, runs, is_current(study.live, time.time())


@router.get("", response_model=StudyList, summary="All studies, the one with the latest activity first")
def studies(request: Request, who: Reader, service: TheService) -> Response:
    """Return all studies of the results folder."""
    found = service.index.studies()
    statements = [service.answers.known_statement(study) for study in found]
    versions = [version_of(service, study) for study in found]
    return answer(request, service, lambda: StudyList(studies=service.summaries()), versions, statements)


@router.get("/{name}", response_model=StudyDetail, summary="A study with its cells")
def study(name: str, request: Request, who: Reader, service: TheService) -> Response:
    """Return a study."""
    found = service.index.study(name)
    return answer(request, service, lambda: detail(found, service.active_run(found)), *version_of(service, found))


@router.get("/{name}/trials", response_model=TrialPage, summary="Trials by page")
def study_trials(
    name: str,
    request: Request,
    who: Reader,
    service: TheService,
    status: Text = None,
    arm: Text = None,
    seed: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    text: Annotated[str, Query(max_length=200, description="words in the arm, the digest or the host")] = "",
    sort: Annotated[str, Query(max_length=200, description="column or metric; a leading - reverses")] = "arm",
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """Return a page of finished trials."""
    found = service.index.study(name)
    query = trials.Query(status, arm, seed, text, sort, cursor, limit)
    return answer(request, service, lambda: trials.page(found, query), found.finished_version)


@router.get("/{name}/trials/{key}", summary="One trial")
def study_trial(name: str, key: str, who: Reader, service: TheService) -> TrialDetail:
    """Return a trial with its config, history and error."""
    return trials.trial(service.index.study(name), key)


@router.get("/{name}/curves", response_model=Curves, summary="Learning curves, at most 300 points each")
def study_curves(
    name: str,
    request: Request,
    who: Reader,
    service: TheService,
    metric: Text = None,
    group: Group = "arm",
    arm: Annotated[list[str] | None, Query(max_length=200)] = None,
    trial: Annotated[str | None, Query(max_length=200, description="key of one trial")] = None,
    limit: Annotated[int, Query(ge=1, le=400)] = 60,
) -> Response:
    """Return the study's metric (on the validation split where epochs have no test values), or another one."""
    found = service.index.study(name)
    points = service.settings.limits.points_per_curve

    def make() -> Curves:
        chosen = metric or default_curve(found)
        if trial is None:
            return curves(found, chosen, group, arm or (), limit, points)
        if trial not in found.trials:
            raise ProblemError(404, f"there is no trial {trial[:70]!r} in study {name!r}")
        return trial_curve(found, trial, chosen, points)

    return answer(request, service, make, *version_of(service, found))


def default_curve(study: StudyIndex) -> str:
    """Return the metric whose curves are shown first: the study's, or its counterpart on the validation split."""
    name = metric_of(study).name
    known = curve_metrics(study)
    counterpart = "val_" + name.removeprefix("test_")
    return next((one for one in (name, counterpart) if one in known), known[0] if known else counterpart)


@router.get(
    "/{name}/effects",
    response_model=Effects,
    summary="Each arm against the reference; verdicts when no planned cell is missing",
)
def study_effects(name: str, request: Request, who: Reader, service: TheService, metric: Text = None) -> Response:
    """Return estimates over all rows of the store."""
    found = service.index.study(name)
    return answer(request, service, lambda: service.answers.effects(found, metric), found.finished_version)


@router.get("/{name}/plan", summary="The plan of the study as it is stored")
def study_plan(name: str, who: Reader, service: TheService) -> StudyPlan:
    """Return arms, cells, time and detectable difference."""
    found = service.index.study(name)
    if found.spec is None:
        raise ProblemError(409, "; ".join(found.problems) or "the study's file cannot be read")
    return plan(found.spec, found)


@router.get("/{name}/report", summary="The report, one self-contained page", response_class=FileResponse)
def study_report(name: str, who: Reader, service: TheService) -> FileResponse:
    """Return the report; written when the store has changed since."""
    path = service.answers.report(service.index.study(name))
    headers = {
        "Content-Security-Policy": report_policy(path.read_text(encoding="utf-8")),
        "X-Frame-Options": "SAMEORIGIN",
    }
    return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)


def report_policy(page: str) -> str:
    """Return the policy of a report page: sandboxed, and the one script that it was written with."""
    digest = next((word.rstrip("';") for word in page[:2000].split("'") if word.startswith("sha256-")), None)
    return REPORT_POLICY.replace("script-src 'none'", f"script-src '{digest}'") if digest else REPORT_POLICY


@router.get("/{name}/files", summary="Files that can be fetched")
def study_files(name: str, who: Reader, service: TheService) -> list[StoredFile]:
    """Return the names of the study's files."""
    return files.listed(service.index.study(name))


@router.get("/{name}/files/{path:path}", summary="One file", response_class=Response)
def study_file(name: str, path: str, who: Reader, service: TheService) -> Response:
    """Return a file as an attachment."""
    content, kind = files.content(service.index.study(name), path)
    filename = f"{name}-{path.replace('/', '-')}"
    return Response(content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{filename}"'})
