"""Versions of the user's code that are accepted as equivalent."""

import json
from types import SimpleNamespace

import pytest

from search_spaces.code import Code
from search_spaces.config.function import FunctionConfig
from tune_app.tuning.code_versions import ACCEPTED, accepted_code
from tune_app.tuning.store.writer import ResultsStore, Stored


class Spec(SimpleNamespace):
    """As much of a study as is asked for."""

    def model_copy(self, update):
        return Spec(**vars(self) | update)


def spec_of(fingerprint):
    return Spec(code=Code(fingerprint=fingerprint), baseline=FunctionConfig(code=fingerprint))


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store with 60 trials of v1, and one of v2 that finished after them."""
    found = ResultsStore(str(tmp_path), "own")

    def stored(number, code, minute):
        at = None if minute is None else 60.0 * minute
        config = {"seed": number}
        return Stored(
            f"{number:016x}", "f" * 16, "completed", "arm", number, config, 1.0, {}, code=code, finished_at=at
        )

    trials = [
        stored(60, "v2", 59),
        *(stored(number, "v1", number % 50) for number in range(59)),
        stored(59, "v1", None),
    ]
    monkeypatch.setattr(found, "trials", lambda: trials)
    return found


def accepted(store):
    return json.loads(store.folder.read(ACCEPTED))


def test_the_present_code_is_accepted_for_the_version_that_trained_last(store):
    assert accepted_code(spec_of("v3"), store, accept=True).baseline.code == "v2"
    assert accepted(store) == {"v3": "v2"}
    assert accepted_code(spec_of("v3"), store).code.fingerprint == "v2"


def test_a_wrong_entry_is_corrected_by_accepting_again(store):
    store.folder.write(ACCEPTED, json.dumps({"v3": "v1"}).encode())
    assert accepted_code(spec_of("v3"), store).baseline.code == "v1"
    assert accepted_code(spec_of("v3"), store, accept=True).baseline.code == "v2"
    assert accepted(store) == {"v3": "v2"}


def test_trials_of_the_present_code_do_not_hide_the_version_before_it(store):
    """A run without the option has trained some cells before it was interrupted."""
    assert accepted_code(spec_of("v2"), store, accept=True).baseline.code == "v1"
    assert accepted_code(spec_of("v3"), store, accept=True).baseline.code == "v1"  # as v2 is taken for v1
    assert accepted_code(spec_of("v1"), store, accept=True).baseline.code == "v1"
    assert accepted(store) == {"v2": "v1", "v3": "v1"}
