"""Pages that show: studies, a study, a trial, a comparison, the API; and sign-in."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from search_spaces.errors import StudyError
from tune_app.web import files, trials
from tune_app.web.access import COOKIE, PageReader, SignInNeeded, client_of, public
from tune_app.web.answers import finite, surfaces
from tune_app.web.api_studies import SHOWN_RUNS, default_curve, version_of
from tune_app.web.forms import Form, local_target
from tune_app.web.index import StudyIndex
from tune_app.web.models import Effects, GridCell, StoredFile, StudySummary
from tune_app.web.problems import ProblemError
from tune_app.web.rendering import STATIC, error_page, page, sign_in_page
from tune_app.web.service import Part, Service, TheService, page_answer
from tune_app.web.summaries import detail, metric_of, metrics_of
from tune_app.web.timeline import hosts_of, timeline
from tune_app.web.tokens import SESSION_SECONDS, Identity

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
GRID_ARMS, GRID_SEEDS = 60, 40
SHOWN_FILES = 40
SESSION_OVER = (
    "The session has ended, so nothing was done. Sign in in another tab, then go back in this one: what you wrote is "
    "still there."
)
STATES = ("running", "queued", "incomplete", "complete")


def add_handlers(app: FastAPI) -> None:
    """Lead pages without a session to sign-in, and show refusals as pages."""
    app.state.error_page = error_page

    @app.exception_handler(SignInNeeded)
    def _sign_in(request: Request, error: SignInNeeded) -> Response:
        if request.method != "GET":
            return sign_in_page("/", SESSION_OVER)
        return sign_in_page(request.url.path + (f"?{request.url.query}" if request.url.query else ""))


@router.get("/static/{name}")
@public
def static(name: str) -> Response:
    """Return a style sheet or script."""
    if name not in STATIC:
        raise ProblemError(404, "there is no such file")
    content, kind = STATIC[name]
    return Response(content, media_type=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"})


@router.get("/login")
@public
def login_page(target: str = "/") -> HTMLResponse:
    """Show the sign-in form, which leads to ``target``."""
    return sign_in_page(target, status=200)


@router.post("/login")
@public
def login(request: Request, form: Form, service: TheService) -> Response:
    """Exchange a token for a session cookie."""
    service.failures.refuse_many(client_of(request))
    target = form.get("target", "/")
    identity = service.tokens.identify(form.get("token", "").strip())
    if identity is None:
        service.failures.note(client_of(request))
        return sign_in_page(target, "This token is not valid: it is unknown, expired or revoked.")
    answer = RedirectResponse(local_target(target), status_code=303)
    answer.set_cookie(
        COOKIE,
        service.tokens.open_session(identity),
        max_age=int(SESSION_SECONDS),
        httponly=True,
        samesite="strict",
        secure=service.settings.is_secure,
    )
    return answer


@router.post("/logout")
def logout(request: Request, who: PageReader, service: TheService) -> Response:
    """End the session."""
    service.tokens.close_session(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/")
def studies(
    request: Request,
    who: PageReader,
    service: TheService,
    q: Annotated[str, Query(max_length=200)] = "",
    state: Annotated[str, Query(max_length=20)] = "",
    part: Part = None,
) -> Response:
    """Show all studies."""
    versions = [
        (*version_of(service, study), service.answers.known_statement(study)) for study in service.index.studies()
    ]

    def make() -> Response:
        everything = service.summaries()
        shown = [one for one in everything if _matches(one, q.lower().split(), state)]
        context: dict[str, Any] = {"studies": shown, "total": len(everything), "q": q, "state": state, "states": STATES}
        return page(request, "_studies.html" if part else "studies.html", who=who, **context)

    return page_answer(request, service, make, *_viewer(who, part), versions)


def _viewer(who: Identity, part: str | None) -> tuple[str, ...]:
    """Return what a page depends on of who sees it: its part without the frame, only on the scope."""
    return (who.scope,) if part else (who.scope, who.name)


def _matches(study: StudySummary, words: list[str], state: str) -> bool:
    text = f"{study.name} {study.question}".lower()
    return all(word in text for word in words) and (not state or study.state == state)


@router.get("/studies/{name}")
def study(name: str, request: Request, who: PageReader, service: TheService, part: Part = None) -> Response:
    """Show a study; ``part=live`` is what changes while it runs, ``part=runs`` the list of its runs."""
    found = service.index.study(name)
    if part == "runs":
        runs = service.runs.listed(found.name, SHOWN_RUNS)
        return page_answer(
            request, service, lambda: page(request, "_runs.html", who=who, runs=runs), *_viewer(who, part), runs
        )

    effects = _effects(service, found)
    drawn = [] if part else surfaces(found)  # only the whole page has the list of files

    def make() -> Response:
        context = _study_context(service, found, *effects, drawn)
        return page(request, "_study.html" if part else "study.html", who=who, **context)

    versions = (*version_of(service, found), service.answers.latest_version(found), drawn)
    return page_answer(request, service, make, *_viewer(who, part), *versions)


def _study_context(
    service: Service, found: StudyIndex, effects: Effects | None, problem: str, drawn: list[str]
) -> dict[str, Any]:
    """Return what a study's page shows; ``drawn``: the version of the tables of its surfaces."""
    run = service.active_run(found)
    shown = detail(found, run)
    runs = service.runs.listed(found.name, SHOWN_RUNS)
    shown_files, all_files = found.remember(f"files {drawn}", lambda: _files(found))
    arms = list(dict.fromkeys(cell.arm for cell in shown.cells))[:GRID_ARMS]
    return {
        "study": shown,
        "run": run,
        "runs": runs,
        "grid": _grid(arms, shown.seeds[:GRID_SEEDS], shown.cells),
        "grid_left_out": len(shown.arms) > len(arms) or len(shown.seeds) > GRID_SEEDS,
        "grid_seeds": shown.seeds[:GRID_SEEDS],
        "effects": effects,
        "effects_problem": problem,
        "forest": forest(effects) if effects else {},
        "hosts": hosts_of(found),
        "timeline": timeline(found),
        "curve_metric": default_curve(found),
        "files": shown_files,
        "files_left_out": all_files - len(shown_files),
        "can_write": not service.settings.read_only,
    }


def _files(found: StudyIndex) -> tuple[list[StoredFile], int]:
    """Return the first files of a study, and how many it has."""
    listed = files.listed(found)
    return listed[:SHOWN_FILES], len(listed)


def _effects(service: Service, found: StudyIndex) -> tuple[Effects | None, str]:
    if found.plan is None:
        return None, ""
    try:
        return service.answers.latest(found), ""
    except (StudyError, ProblemError) as error:
        return None, str(error)


def _grid(arms: list[str], seeds: list[int], cells: list[GridCell]) -> list[tuple[str, list[GridCell | None]]]:
    """Return rows of the table of arms by seeds; None where there is no such cell."""
    by_place = {(cell.arm, cell.seed): cell for cell in cells}
    return [(arm, [by_place.get((arm, seed)) for seed in seeds]) for arm in arms]


def forest(effects: Effects) -> dict[str, dict[str, float]]:
    """Return, for each arm with an interval, its places on an axis from 0 to 100, and that of no difference."""
    rows = [row for row in effects.rows if row.low is not None and row.high is not None]
    ends = [finite(value) or 0.0 for row in rows for value in (row.low, row.high)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    width = (high - low) or 1.0

    def place(value: float | None) -> float:
        return round(4 + 92 * ((value or 0.0) - low) / width, 2)

    return {
        row.arm: {"low": place(row.low), "high": place(row.high), "mean": place(row.difference), "zero": place(0.0)}
        for row in rows
    }


@router.get("/studies/{name}/trials")
def trial_table(
    name: str,
    request: Request,
    who: PageReader,
    service: TheService,
    status: Annotated[str, Query(max_length=20)] = "",
    text: Annotated[str, Query(max_length=200)] = "",
    sort: Annotated[str, Query(max_length=100)] = "arm",
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """Show the trials of a study by pages of 100."""
    found = service.index.study(name)
    query = trials.Query(status=status or None, text=text, sort=sort, cursor=cursor, limit=100)

    def make() -> Response:
        shown, metric = trials.page(found, query), metric_of(found)
        return page(request, "trials.html", who=who, name=name, shown=shown, metric=metric, query=query)

    return page_answer(request, service, make, *_viewer(who, None), found.finished_version)


@router.get("/studies/{name}/trials/{key}")
def trial(name: str, key: str, request: Request, who: PageReader, service: TheService) -> HTMLResponse:
    """Show one trial."""
    found = service.index.study(name)
    shown = trials.trial(found, key)
    metrics = {one.name: one for one in metrics_of(found)}
    context: dict[str, Any] = {"name": name, "trial": shown, "metrics": metrics, "curve_metric": default_curve(found)}
    return page(request, "trial.html", who=who, **context)


@router.get("/compare")
def compare(
    request: Request,
    who: PageReader,
    service: TheService,
    study: Annotated[list[str] | None, Query(max_length=20)] = None,
) -> HTMLResponse:
    """Show the effects of several studies on one page."""
    known = [one for one in service.index.studies() if one.plan is not None]
    chosen = [one for one in known if one.name in (study or ())]
    shown = [(one, *_effects(service, one)) for one in chosen]
    rows = [(one.name, str(one.tree.get("question") or ""), effects, problem) for one, effects, problem in shown]
    return page(request, "compare.html", who=who, names=[one.name for one in known], chosen=study or [], rows=rows)


@router.get("/api")
def api(request: Request, who: PageReader) -> HTMLResponse:
    """Show the routes of the API."""
    document = request.app.openapi()
    routes = [
        (method.upper(), path, operation.get("summary", ""), operation.get("parameters", []))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return page(request, "api.html", who=who, routes=routes)
