"""Versions of the user's code in a results store: archives by fingerprint, and versions accepted as equivalent."""

from __future__ import annotations

import json
import math

from search_spaces._yaml import mapping_in, parse_stored
from search_spaces.errors import StudyError
from search_spaces.study import StudySpec
from tune_app.tuning.store.writer import ResultsStore, Stored
from tune_app.user_code import CodeSource, code_archive

ACCEPTED = "code/accepted.json"
"""Maps the fingerprint of a version to that of an earlier one which computes the same."""


def accepted_code(spec: StudySpec, store: ResultsStore, *, accept: bool = False) -> StudySpec:
    """Return the study with the fingerprint under which the store knows its code.

    ``accept``: record that the present code computes what the version before it did: of the stored trials of other
    versions, that of the one that finished last. An earlier record of the present code is replaced.
    """
    if spec.code is None or spec.code.fingerprint is None:
        return spec
    present, known = spec.code.fingerprint, _accepted(store)
    last = _version_before(present, store) if accept else None
    if last is not None and known.get(present, present) != known.get(last, last):
        known = {**known, present: known.get(last, last)}
        store.folder.write(ACCEPTED, json.dumps(known, indent=2).encode())
    same = known.get(present, present)
    if same == present:
        return spec
    baseline = spec.baseline.model_copy(update={"code": same})
    return spec.model_copy(update={"baseline": baseline, "code": spec.code.model_copy(update={"fingerprint": same})})


def keep_archive(spec: StudySpec, store: ResultsStore) -> None:
    """Put the code of a study into its store, once for each version."""
    if spec.code is None:
        return
    name = f"code/{spec.code.fingerprint}.zip"
    if not store.folder.exists(name):
        store.folder.write(name, code_archive(spec))


def stored_code(store: ResultsStore, fingerprint: str | None) -> CodeSource:
    """Return a version of the user's code from the archive in the store; without a fingerprint there is no user code.

    StudyError where the store lacks the archive.
    """
    if fingerprint is None:
        return CodeSource()
    name = f"code/{fingerprint}.zip"
    if not store.folder.exists(name):
        raise StudyError(
            f"{store.folder.path(name)} does not exist, but it has the code that a trial was trained with; put it "
            "back, or train the study again from files (functions of a notebook are not stored)"
        )
    return CodeSource(archive=store.folder.read(name), fingerprint=fingerprint)


def _accepted(store: ResultsStore) -> dict[str, str]:
    if not store.folder.exists(ACCEPTED):
        return {}
    place = store.folder.path(ACCEPTED)
    found = mapping_in(parse_stored(store.folder.read(ACCEPTED), place), place, "fingerprints of code")
    return {str(key): str(value) for key, value in found.items()}


def _version_before(present: str, store: ResultsStore) -> str | None:
    """Return the version of the stored trial that finished last; trials of the present one do not count."""
    others = [trial for trial in store.trials() if trial.code not in (None, present)]
    return max(others, key=_finished).code if others else None


def _finished(trial: Stored) -> float:
    return trial.finished_at if trial.finished_at is not None else -math.inf
