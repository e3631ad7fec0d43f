"""The error of a study to which seeds were added after its results could be seen."""

import pytest

from analysis.stats.added_seeds import error_of_looks, looks_of_rounds
from analysis.stats.sequential import default_looks
from analysis.stats.spending import t_levels
from search_spaces.errors import StudyError
from search_spaces.rounds import Round, rounds_from_json, rounds_to_json, with_round


def at_five_percent(*counts):
    return tuple((n, 0.05) for n in counts)


@pytest.mark.parametrize(
    ("counts", "error", "tolerance"), [((5,), 0.05, 0.002), ((3, 5), 0.084, 0.003), ((3, 5, 8, 12), 0.14, 0.003)]
)
def test_looking_again_raises_the_error_as_is_known(counts, error, tolerance):
    assert error_of_looks(at_five_percent(*counts)) == pytest.approx(error, abs=tolerance)


def test_a_rule_keeps_its_error_and_its_extension_does_not():
    first, longer = (Round(tuple(range(n)), None, default_looks(n), "quadratic") for n in (20, 30))
    assert error_of_looks(looks_of_rounds([first], range(20)), seed=1) == pytest.approx(0.05, abs=0.002)
    assert 0.055 < error_of_looks(looks_of_rounds([first, longer], range(30))) < 0.1


def test_a_look_that_cannot_be_significant_adds_nothing():
    assert error_of_looks(((1, 0.05), (3, 0.0), *at_five_percent(5))) == error_of_looks(at_five_percent(5))


def test_rounds_of_all_seeds_are_looks_at_the_full_level_and_rounds_by_rule_those_of_the_rule():
    plain = [Round((0, 1, 2)), Round((0, 1, 2, 3, 4))]
    assert looks_of_rounds(plain, range(5)) == at_five_percent(3, 5)
    assert looks_of_rounds(plain, (3, 4)) == at_five_percent(2), "seeds that the study no longer has do not count"
    looks = default_looks(8)
    levels = t_levels(looks, 0.05, "quadratic")
    by_rule = Round(tuple(range(8)), None, looks, "quadratic")
    assert looks_of_rounds([by_rule], range(8)) == tuple(zip(looks, levels, strict=True))
    assert looks_of_rounds([*plain, by_rule], range(8))[:2] == at_five_percent(3, 5)


def test_a_round_is_a_plan_of_further_seeds_or_of_another_rule():
    first = Round((0, 1, 2), "2026-01-01T00:00:00+00:00")
    assert with_round((), first) == (first,)
    assert with_round((first,), Round((0, 1))) == (first,)
    assert with_round((first,), Round((5, 6))) == (first, Round((5, 6)))
    by_rule = Round((0, 1, 2), None, (2, 3), "quadratic")
    assert with_round((first,), by_rule) == (first, by_rule)
    assert with_round((by_rule,), by_rule) == (by_rule,)
    assert rounds_from_json(rounds_to_json((first, by_rule))) == (first, by_rule)


def test_another_number_of_tuning_trials_is_a_round_where_the_one_before_is_known():
    before, first, more = (Round((0, 1), trials=trials) for trials in (None, 8, 12))
    assert with_round((first,), more) == (first, more)
    assert with_round((first,), first) == (first,)
    assert with_round((before,), more) == (before,)
    assert rounds_from_json(rounds_to_json((first, more))) == (first, more)


@pytest.mark.parametrize(
    "text",
    [
        '[{"seeds": [1], "trials": "8"}]',
        "{}",
        "[1]",
        '[{"seeds": []}]',
        '[{"seeds": ["a"]}]',
        '[{"seeds": [1], "looks": 3}]',
        "[",
        "[NaN]",
    ],
)
def test_a_damaged_file_of_rounds_is_refused(text):
    with pytest.raises(StudyError, match=r"rounds\.json"):
        rounds_from_json(text)
