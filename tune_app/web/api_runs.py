"""Routes of the API that check, plan, start and stop."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from tune_app.web.access import Admin, Reader, Runner
from tune_app.web.index import StudyIndex
from tune_app.web.problems import ProblemError
from tune_app.web.run_models import (
    LogPart,
    NewToken,
    Run,
    RunList,
    RunSubmission,
    StudyPlan,
    StudySubmission,
    TokenRequest,
    TokenSummary,
    Validation,
)
from tune_app.web.service import Service, TheService, revalidate
from tune_app.web.submissions import plan, read, text_of, validate
from tune_app.web.tokens import Identity

router = APIRouter(prefix="/api/v1", tags=["runs"])


@router.post("/validate", summary="Check a study")
def check(submission: StudySubmission, who: Runner, service: TheService) -> Validation:
    """Return whether a study is right, and each mistake with its line.

    Needs scope run, like everything that reads a study: a study may name code of its own.
    """
    return validate(submission, service.settings)


@router.post("/plan", summary="What a study would train")
def plan_study(submission: StudySubmission, who: Runner, service: TheService) -> StudyPlan:
    """Return arms, cells, time, detectable difference, and the difference to the stored study of this name."""
    spec = read(submission, service.settings)
    return plan(spec, stored(service, spec.name))


def stored(service: Service, name: str) -> StudyIndex | None:
    """Return the store of a study; None where there is none yet."""
    return next((study for study in service.index.studies() if study.name == name), None)


@router.post("/runs", status_code=201, summary="Start a study")
def start(
    submission: RunSubmission,
    response: Response,
    who: Runner,
    service: TheService,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Run:
    """Put a study into the queue. A request that is repeated with its Idempotency-Key starts nothing twice."""
    run, new = submit(service, submission, who, idempotency_key)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/api/v1/runs/{run.id}"
    return run


def submit(service: Service, submission: RunSubmission, who: Identity, key: str | None = None) -> tuple[Run, bool]:
    """Check a study and put it into the queue; problems where it is running, here or elsewhere."""
    service.must_be_writable()
    spec = read(submission, service.settings)
    found = stored(service, spec.name)
    if found is not None and service.runs.active(spec.name) is None and (holder := found.holder()):
        raise ProblemError(409, f"study {spec.name!r} is being run by {holder}")
    return service.runs.submit(spec, text_of(submission), submission, who, key)


@router.get("/runs", summary="Runs, active ones first, then the newest")
def runs(
    request: Request,
    response: Response,
    who: Reader,
    service: TheService,
    study: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> RunList:
    """Return runs."""
    found = RunList(runs=service.runs.listed(study, limit))
    revalidate(request, response, found.model_dump_json())
    return found


@router.get("/runs/{run}", summary="One run")
def one_run(run: str, who: Reader, service: TheService) -> Run:
    """Return a run."""
    return service.runs.get(run)


@router.post("/runs/{run}/stop", summary="End a run in order")
def stop(run: str, who: Runner, service: TheService) -> Run:
    """Stop a run: finished trials are kept, running ones go on from their checkpoints when the study is run again."""
    service.must_be_writable()
    return service.runs.stop(run, who)


@router.get("/runs/{run}/log", summary="A part of a run's log")
def log(run: str, who: Reader, service: TheService, offset: Annotated[int, Query(ge=0, le=2**62)] = 0) -> LogPart:
    """Return the log from a byte offset on; ask again with ``next``."""
    return service.runs.log(run, offset)


@router.get("/tokens", tags=["tokens"], summary="Tokens, without their secrets")
def tokens(who: Admin, service: TheService) -> list[TokenSummary]:
    """Return all tokens."""
    return [TokenSummary(**vars(token)) for token in service.tokens.listed()]


@router.post("/tokens", tags=["tokens"], status_code=201, summary="Create a token")
def create_token(wanted: TokenRequest, who: Admin, service: TheService) -> NewToken:
    """Create a token and return it: it cannot be seen again."""
    token = service.tokens.create(wanted.name, wanted.scope, wanted.days)
    service.database.audit(who.name, "create token", f"{wanted.name} ({wanted.scope})")
    return NewToken(name=wanted.name, token=token)


@router.delete("/tokens/{name:path}", tags=["tokens"], status_code=204, summary="Revoke a token")
def revoke_token(name: str, who: Admin, service: TheService) -> None:
    """Make a token and its sessions invalid."""
    if name not in {token.name for token in service.tokens.listed() if token.revoked_at is None}:
        raise ProblemError(404, f"there is no valid token {name[:70]!r}")
    service.tokens.revoke(name)
    service.database.audit(who.name, "revoke token", name)
