"""Pages that act: a new study, the queue, tokens."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Annotated, Any

import yaml
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError

from search_spaces.errors import StudyError, explain
from search_spaces.study import StudySpec
from search_spaces.study_files import read_study, ready_studies
from tune_app.user_code import unpack
from tune_app.web.access import PageAdmin, PageReader, PageRunner
from tune_app.web.api_runs import stored, submit
from tune_app.web.forms import Form
from tune_app.web.index import StudyIndex
from tune_app.web.problems import ProblemError, mistakes_in
from tune_app.web.rendering import page
from tune_app.web.run_models import RunSubmission, Validation
from tune_app.web.runs import ACTIVE
from tune_app.web.service import Part, Service, TheService, page_answer, revalidate
from tune_app.web.submissions import plan, read, validate

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/new")
def new_study(
    request: Request,
    who: PageRunner,
    service: TheService,
    ready: Annotated[str | None, Query(max_length=64)] = None,
    study: Annotated[str | None, Query(max_length=64)] = None,
) -> HTMLResponse:
    """Show the editor, with a ready study, one of the results folder, or an example."""
    known = ready_studies()
    size, overrides = "", ""
    if study is not None:
        again = again_of(service, service.index.study(study))
        text, size, overrides = str(again.study), again.size or "", "\n".join(again.overrides)
    else:
        text = known.get(ready or "quickstart", known["quickstart"]).read_text(encoding="utf-8")
    names = {name: read_study(name).question for name in known}
    context: dict[str, Any] = {
        "text": text,
        "size": size,
        "overrides": overrides,
        "priority": 0,
        "ready": names,
        "chosen": ready,
        "study": study,
    }
    return page(request, "new.html", who=who, key=secrets.token_hex(8), problem="", **context)


def again_of(service: Service, found: StudyIndex) -> RunSubmission:
    """Return what runs a study again: as it was submitted here last, unless its store has another study since then."""
    last = next(iter(service.runs.listed(found.name, 1)), None)
    if last is not None:
        submitted = RunSubmission(study=service.runs.source(last.id), size=last.size, overrides=last.overrides)
        if last.state in ACTIVE or found.spec is None or _reads_to(submitted, found.spec, service):
            return submitted
    if found.spec is None:
        raise ProblemError(409, "; ".join(found.problems) or "the study's file cannot be read")
    is_search = found.spec.mode == "search"
    left_out = {"training_version", "code", "design" if is_search else "search"}  # earlier releases took either
    whole = found.spec.model_dump(mode="json", exclude=left_out)
    dumped = found.spec.model_dump(mode="json", exclude=left_out, exclude_defaults=True)
    for short, full in ((dumped, whole), (dumped.get("tune", {}), whole["tune"])):
        short.update({name: full[name] for name in ("space", "extra") if name in short})  # a domain's kind is a default
    if is_search and "seeds" in dumped:
        dumped["seeds"] = dumped["seeds"][:1]
    tree: dict[str, Any] = {"name": found.name, **dumped}
    if found.spec.code is not None:
        root = stored_code(found, service.settings.state_folder / "code")
        tree["code"] = {"root": str(root), "include": list(found.spec.code.include)}
    return RunSubmission(study=yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))


def _reads_to(submitted: RunSubmission, spec: StudySpec, service: Service) -> bool:
    """Return whether a submission is that study, whatever became of its code: the run that follows says that."""
    try:
        read_now = read(submitted, service.settings)
    except StudyError:
        return False
    left_out = {"sizes", "code", "training_version"}
    trees = [
        one.model_dump(mode="json", exclude=left_out) | {"choose_by": one.choose_by_metric()}
        for one in (read_now, spec)
    ]
    return trees[0] == trees[1]


def stored_code(found: StudyIndex, folder: Path) -> Path:
    """Return a folder with the code of a stored study, unpacked from the store's archive inside ``folder``."""
    assert found.spec is not None
    assert found.spec.code is not None
    fingerprint = str(found.spec.code.fingerprint)
    name = f"code/{fingerprint}.zip"
    if not re.fullmatch(r"[0-9a-f]{1,64}", fingerprint) or not found.folder.exists(name):
        raise ProblemError(409, "the study's code is not in its store; start it from its own study file")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    unpack(found.folder.read(name), folder / fingerprint)
    return folder / fingerprint


def _submission(form: dict[str, str]) -> RunSubmission:
    overrides = [line.strip() for line in form.get("overrides", "").splitlines() if line.strip()]
    fields = {
        "study": form.get("text", "").replace("\r\n", "\n"),
        "size": form.get("size", "").strip() or None,
        "overrides": overrides,
        "priority": form.get("priority", "").strip() or 0,
    }
    try:
        return RunSubmission.model_validate(fields)
    except ValidationError as error:
        raise StudyError(explain(error)) from None


@router.post("/new/check")
def check(request: Request, who: PageRunner, form: Form, service: TheService) -> HTMLResponse:
    """Show the mistakes of the text that is being edited, or its plan."""
    made = None
    try:
        submission = _submission(form)
        found = validate(submission, service.settings)
        if found.valid:
            spec = read(submission, service.settings)
            made = plan(spec, stored(service, spec.name))
    except StudyError as error:
        found = Validation(valid=False, mistakes=mistakes_in(str(error)))
    lines = form.get("text", "").splitlines()
    return page(request, "_check.html", who=who, found=found, plan=made, lines=lines)


@router.post("/new/start")
def start(request: Request, who: PageRunner, form: Form, service: TheService) -> Response:
    """Start the study that was edited."""
    try:
        run, _ = submit(service, _submission(form), who, form.get("key") or None)
    except (StudyError, ProblemError) as error:
        fields = {name: form.get(name, "") for name in ("text", "size", "overrides", "priority", "study")}
        names = {name: read_study(name).question for name in ready_studies()}
        context = {"ready": names, "chosen": None, "problem": str(error), "key": secrets.token_hex(8)}
        return page(request, "new.html", 422, who=who, **fields, **context)
    return RedirectResponse(f"/queue#run-{run.id}", status_code=303)


@router.post("/studies/{name}/start")
def start_again(name: str, who: PageRunner, service: TheService) -> Response:
    """Train what the study's store lacks."""
    submit(service, again_of(service, service.index.study(name)), who)
    return RedirectResponse(f"/studies/{name}", status_code=303)


@router.get("/queue")
def queue(
    request: Request,
    who: PageReader,
    service: TheService,
    part: Part = None,
) -> HTMLResponse:
    """Show the runs."""
    runs = service.runs.listed(limit=100)
    headers = Response()
    known = sorted(study.name for study in service.index.studies())
    revalidate(request, headers, who.name, known, *[run.model_dump_json() for run in runs])
    answer = page(request, "_queue.html" if part else "queue.html", who=who, runs=runs, known=known)
    answer.headers.update({name: headers.headers[name] for name in ("ETag", "Cache-Control")})
    return answer


@router.get("/runs/{run}")
def log_page(run: str, request: Request, who: PageReader, service: TheService, part: Part = None) -> Response:
    """Show a run with its log; ``part=status`` is what changes while it runs."""
    found = service.runs.get(run)
    is_known = any(study.name == found.study for study in service.index.studies())

    def make() -> Response:
        context: dict[str, Any] = {"run": found, "is_known": is_known, "source": service.runs.source(run)}
        return page(request, "_run.html" if part else "run.html", who=who, **context)

    return page_answer(request, service, make, who.name, who.scope, found, is_known)


@router.post("/runs/{run}/stop")
def stop(run: str, who: PageRunner, form: Form, service: TheService) -> Response:
    """End a run in order."""
    service.must_be_writable()
    found = service.runs.stop(run, who)
    return RedirectResponse(f"/studies/{found.study}" if form.get("back") == "study" else "/queue", status_code=303)


@router.get("/tokens")
def tokens(request: Request, who: PageAdmin, service: TheService) -> HTMLResponse:
    """Show the tokens."""
    return _token_page(request, who, service)


def _token_page(request: Request, who: PageAdmin, service: Service, **more: Any) -> HTMLResponse:
    audit = service.database.rows("SELECT at, who, action, target FROM audit ORDER BY id DESC LIMIT 100")
    context: dict[str, Any] = {"tokens": service.tokens.listed(), "audit": audit, "created": "", "problem": ""} | more
    return page(request, "tokens.html", 422 if context["problem"] else 200, who=who, **context)


@router.post("/tokens")
def create_token(request: Request, who: PageAdmin, form: Form, service: TheService) -> HTMLResponse:
    """Create a token and show it, once."""
    name, scope = form.get("name", ""), form.get("scope", "")
    try:
        days = float(form["days"]) if form.get("days") else None
        created = service.tokens.create(name, scope, days)
    except (StudyError, ValueError) as error:
        return _token_page(request, who, service, problem=str(error))
    service.database.audit(who.name, "create token", f"{name} ({scope})")
    return _token_page(request, who, service, created=created)


@router.post("/tokens/revoke")
def revoke_token(who: PageAdmin, form: Form, service: TheService) -> Response:
    """Revoke a token."""
    service.tokens.revoke(form.get("name", ""))
    service.database.audit(who.name, "revoke token", form.get("name", ""))
    return RedirectResponse("/tokens", status_code=303)
