"""A process of its own: it looks at the user's code, or does what needs torch, which the driver does not import.

``python -m tune_app.child FOLDER`` reads ``request.json`` in a folder and writes ``answer.json`` there.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from search_spaces.errors import StudyError
from tune_app.signatures import parameters
from tune_app.user_code import CodeSource, is_adapter, make_importable, resolve, user_traceback


def describe(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of each reference; a library's own names take any argument."""
    return {r: {} if is_adapter(r) else _described(r) for r in request["references"]}


def _described(reference: str) -> dict[str, Any]:
    function = resolve(reference)
    try:
        schema = parameters(function)
        json.dumps(schema)
    except StudyError as error:
        raise StudyError(f"`{reference}`: {error}") from None
    except Exception as error:  # pydantic raises many kinds for types that no study file can hold
        raise StudyError(
            f"`{reference}`: its parameters cannot be described ({str(error).splitlines()[0]}); annotate them with "
            "plain types (int, float, str, bool, lists of these) and give defaults that a study file can hold"
        ) from error
    return schema


def load_arrays(request: Mapping[str, Any]) -> dict[str, Any]:
    """Call a user's data function, or read a data set of a library, and write the arrays as .npy files."""
    from tune_app.data.sources.own import load_arrays  # imports torch, which the other answers do not need

    return load_arrays(request)


def networks(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the notes about each network, or why it cannot be built.

    At a low priority: a run starts Ray meanwhile, which is what its user waits for.
    """
    os.nice(10)
    from tune_app.models.registry import describe_networks  # imports torch

    return describe_networks(request["networks"])


ANSWERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "describe": describe,
    "load": load_arrays,
    "networks": networks,
}


def main() -> None:
    """Answer the request in the folder that the first argument names."""
    folder = Path(sys.argv[1])
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    root = request["root"]
    make_importable(CodeSource(root))
    try:
        answer = {"result": ANSWERS[request["what"]](request)}
        text = json.dumps(answer)
    except StudyError as error:
        text = json.dumps({"error": str(error)})
    except Exception as error:
        text = json.dumps({"error": user_traceback(error, [root]).split("\n\nTraceback")[0]})
    (folder / "answer.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
