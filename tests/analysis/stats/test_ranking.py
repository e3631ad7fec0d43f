from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.stats.ranking import critical_difference, rank_arms, ranking
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError


@pytest.mark.parametrize(("arms", "q"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_critical_difference_is_demsars(arms: int, q: float):
    # q from table 5 of Demsar (2006).
    assert critical_difference(arms, 30) == pytest.approx(q * np.sqrt(arms * (arms + 1) / 180), rel=1e-3)


def test_ranks_by_hand_best_first_ties_shared():
    values = pd.DataFrame([[3.0, 3, 3], [2, 2, 3], [1, 1, 1]], index=["c", "b", "a"])
    found = rank_arms(values)
    assert found.mean_ranks.to_dict() == pytest.approx({"c": (1 + 1 + 1.5) / 3, "b": (2 + 2 + 1.5) / 3, "a": 3})
    assert found.friedman_p == pytest.approx(stats.friedmanchisquare(*values.to_numpy()).pvalue)
    assert found.groups == (("c", "b", "a"),)


def test_groups_are_arms_within_the_critical_difference():
    rng = np.random.default_rng(0)
    values = pd.DataFrame(rng.normal(0, 1, (4, 12)) + np.array([0, 0.5, 1.5, 3])[:, None], index=list("wxyz"))
    found = rank_arms(values)
    far = (
        np.abs(np.subtract.outer(found.mean_ranks.to_numpy(), found.mean_ranks.to_numpy())) > found.critical_difference
    )
    assert found.groups
    for group in found.groups:
        assert not far[np.ix_(*[[found.mean_ranks.index.get_loc(arm) for arm in group]] * 2)].any()


def test_study_is_ranked_by_direction_and_whole_seeds(results: StudyResults):
    by_accuracy, by_loss = ranking(results), ranking(results, "test_loss")
    assert list(by_accuracy.mean_ranks.index) == list(by_loss.mean_ranks.index)
    assert by_accuracy.mean_ranks.index[0] == "batch_size=32"
    values = pd.DataFrame(np.arange(12.0).reshape(3, 4), index=list("abc"))
    values.iloc[0, 1] = np.nan
    values.loc["d"] = np.nan
    found = rank_arms(values)
    assert found.seeds == (0, 2, 3)
    assert found.notes == ("d: no completed cell, left out", "1 of 4 seeds left out: not completed in every arm")


def test_arms_that_are_all_equal_are_not_told_apart():
    found = rank_arms(pd.DataFrame(np.ones((3, 4)), index=list("abc")))
    assert found.groups == (("a", "b", "c"),)
    assert np.isnan(found.friedman_p)


def test_two_arms_or_one_seed_are_refused():
    with pytest.raises(StudyError, match="3 arms and 2 seeds"):
        rank_arms(pd.DataFrame([[1.0, 2.0], [2.0, 3.0]], index=["a", "b"]))
