"""Which trials count where the data changed between runs."""

from __future__ import annotations

import json

import pytest

from search_spaces.data_versions import Trained, of_one_version

OLD, NEW = "0" * 16, "1" * 16


def trials(digests: str, fingerprint: str, finished: float, **data: object) -> list[Trained]:
    config = json.dumps({"data": {"source": "digits", "path": fingerprint} | data, "epochs": 1})
    return [Trained(digest, fingerprint, finished, config) for digest in digests]


def test_an_arm_that_has_only_the_new_data_is_not_compared_with_the_others() -> None:
    rows = trials("abcd", OLD, 1.0) + trials("ef", NEW, 2.0)
    assert of_one_version(rows) == [True] * 4 + [False] * 2


def test_the_version_of_most_trials_counts_and_of_equals_the_later_one() -> None:
    assert of_one_version(trials("ab", OLD, 1.0) + trials("ab", NEW, 2.0)) == [False, False, True, True]
    assert of_one_version(trials("ab", OLD, 3.0) + trials("ab", NEW, 2.0)) == [True, True, False, False]
    assert of_one_version(trials("abc", OLD, 1.0) + trials("ab", NEW, 2.0)) == [True, True, True, False, False]


def test_of_a_search_the_version_that_was_trained_last_counts() -> None:
    assert of_one_version(trials("abc", OLD, 1.0) + trials("d", NEW, 2.0), latest=True) == [False] * 3 + [True]


def test_trials_that_read_other_data_by_their_config_have_a_version_of_their_own() -> None:
    rows = trials("abc", OLD, 1.0) + trials("d", NEW, 2.0, resolution=16)
    assert of_one_version(rows) == [True] * 4
    assert of_one_version(rows, latest=True) == [True] * 4


DAMAGED = (None, "", "{", "[1]", "{}", '{"data": null}', '{"data": [1]}', '{"data": "digits"}')


@pytest.mark.parametrize("config", DAMAGED)
def test_trials_whose_config_does_not_say_what_data_they_read_are_taken_together(config: str | None) -> None:
    rows = [Trained(digest, OLD, 1.0, config) for digest in "ab"] + [Trained("c", NEW, 2.0, config)]
    assert of_one_version(rows) == [True, True, False]


def test_no_trials_and_one_version_of_the_data_count_whole() -> None:
    assert of_one_version([]) == []
    assert of_one_version(trials("aab", OLD, 1.0)) == [True] * 3
