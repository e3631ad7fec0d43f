"""Bodies of forms that pages send."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Depends, Request

from tune_app.web.problems import ProblemError

MAX_FIELDS = 50


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a URL-encoded body, the last of repeated ones; a 415 or 422 problem for another body."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    body = await request.body()
    if body and kind != "application/x-www-form-urlencoded":
        raise ProblemError(415, "the body must be application/x-www-form-urlencoded")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise ProblemError(422, f"the body is not a form of at most {MAX_FIELDS} fields in UTF-8") from None
    return {name: values[-1] for name, values in fields.items()}


Form = Annotated[dict[str, str], Depends(read_form)]


def local_target(target: str) -> str:
    """Return a path of this site to go to; the first page where ``target`` leads anywhere else."""
    is_local = target.startswith("/") and not target.startswith("//") and "\\" not in target
    return target if is_local and target.isprintable() else "/"
