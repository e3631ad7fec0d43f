"""Versions of the user's code in a results store: archives by fingerprint, and versions accepted as equivalent."""

from __future__ import annotations

import json

from search_spaces._yaml import mapping_in, parse_stored
from search_spaces.errors import StudyError
from search_spaces.study import StudySpec
from tune_app.tuning.store.writer import ResultsStore
from tune_app.user_code import CodeSource, code_archive

ACCEPTED = "code/accepted.json"
"""Maps the fingerprint of a version to that of an earlier one which computes the same."""


def accepted_code(spec: StudySpec, store: ResultsStore, *, accept: bool = False) -> StudySpec:
    """Return the study with the fingerprint under which the store knows its code.

    ``accept``: record that the present code computes what the version of the last run did.
    """
    if spec.code is None or spec.code.fingerprint is None:
        return spec
    present, known = spec.code.fingerprint, _accepted(store)
    last = _last_fingerprint(store)
    if accept and last is not None and known.get(present, present) != last:
        known = {**known, present: last}
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


def _last_fingerprint(store: ResultsStore) -> str | None:
    """Return the fingerprint of the version that most of the stored trials were trained with; ties: any."""
    counts: dict[str, int] = {}
    for trial in store.trials():
        if trial.code is not None:
            counts[trial.code] = counts.get(trial.code, 0) + 1
    return max(counts, key=lambda code: counts[code], default=None)
