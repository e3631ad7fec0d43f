from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.stats.collapse import find_collapses, share_p
from analysis.stats.robust import welch

NORMAL = np.random.default_rng(0).normal(size=(4, 6))


def with_collapses(*cells: tuple[int, int], depth: float = 20.0) -> np.ndarray:
    values = NORMAL.copy()
    for arm, seed in cells:
        values[arm, seed] -= depth
    return values


@pytest.mark.parametrize(
    "cells", [[(1, 2)], [(1, 2), (1, 4), (3, 0)], [(2, 0), (2, 1), (2, 3), (2, 4)]], ids=["one", "some", "most"]
)
def test_runs_far_below_their_arm_have_collapsed(cells: list[tuple[int, int]]):
    found = find_collapses(with_collapses(*cells))
    assert {tuple(cell) for cell in np.argwhere(found.mask).tolist()} == set(cells)
    assert found.count.sum() == len(cells)
    np.testing.assert_allclose(found.depth[found.mask], 20, atol=2.5)
    assert np.isnan(found.depth[~found.mask]).all()
    lower_is_better = find_collapses(-with_collapses(*cells), higher_is_better=False)
    np.testing.assert_array_equal(lower_is_better.mask, found.mask)


def test_a_lucky_run_is_no_collapse_of_the_others_and_neither_is_a_metric_without_direction():
    assert not find_collapses(with_collapses((0, 3), depth=-20)).any
    assert not find_collapses(with_collapses((0, 3)), higher_is_better=None).any


def test_missing_cells_and_short_arms_are_left_out():
    values = with_collapses((1, 2))
    values[1, 0] = np.nan
    values[2, 2:] = np.nan
    values[2, 1] = -50.0
    found = find_collapses(values)
    assert found.count.tolist() == [0, 1, 0, 0]
    assert found.runs.tolist() == [6, 5, 2, 6]
    assert not find_collapses(np.full((2, 2), np.nan)).any


@pytest.mark.parametrize("shape", [(2, 3), (2, 5), (7, 3), (7, 10)])
def test_normal_noise_hardly_ever_collapses(shape: tuple[int, int]):
    rng = np.random.default_rng(1)
    assert np.mean([find_collapses(rng.normal(size=shape)).any for _ in range(400)]) <= 0.03


def test_unseen_collapses_are_what_comparable_arms_show_beyond_an_arms_own():
    found = find_collapses(with_collapses((1, 2), (3, 5)))
    share, depth = 2.5 / 25, found.depth[found.mask].mean()
    for arm in (0, 2):
        assert found.unseen(arm) == pytest.approx((share * depth, share * (1 - share) / 24 * depth**2))
    assert found.unseen(1) == found.unseen(3) == (0, 0)  # 1 of 6 is more than 2.5 of 25
    # An arm in which every run but one collapses differs from the others (p = 0.015), which do not share its risk.
    broken = find_collapses(with_collapses(*((2, seed) for seed in range(5))))
    assert broken.comparable(0).tolist() == [True, True, False, True]
    assert broken.unseen(0) == (0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_comparable_arms_are_those_of_welchs_test_of_each_pair_and_fishers(seed: int):
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.choice([0, 1, 3], (40, 1)), 1.0, (40, 5))
    values[rng.random(values.shape) < 0.1] -= 40  # collapsed
    values[rng.random(values.shape) < 0.2] = np.nan
    values[0], values[1, 1:], values[2:4] = np.nan, np.nan, 7.0
    found = find_collapses(values)
    shares = list(zip(found.count.tolist(), found.runs.tolist(), strict=True))
    for arm in range(40):
        welchs = [not welch(row, found.survivors[arm])[0] < 0.01 for row in found.survivors]
        fishers = [share_p(*share, *shares[arm]) >= 0.05 for share in shares]
        expected = (np.array(welchs) & np.array(fishers)) | (np.arange(40) == arm)
        assert found.comparable(arm).tolist() == expected.tolist()
    assert not all(found.comparable(arm).all() for arm in range(40))


def test_an_arm_whose_other_runs_are_at_another_level_shares_no_risk_of_collapse():
    values = with_collapses((1, 2), (1, 4))
    assert find_collapses(values).comparable(0).all()
    values[1] -= 8
    found = find_collapses(values)
    assert found.count.tolist() == [0, 2, 0, 0]
    assert found.comparable(0).tolist() == [True, False, True, True]
    assert found.unseen(0) == (0, 0)


def test_share_p_is_fishers_exact_test_by_enumeration():
    # 3 of 5 against 0 of 6: all tables with these margins, those no more likely than this one.
    table = stats.hypergeom(11, 3, 5)
    likely = table.pmf(np.arange(4))
    assert share_p(3, 5, 0, 6) == pytest.approx(likely[likely <= likely[3] * (1 + 1e-9)].sum())
    assert share_p(0, 0, 3, 5) == 1
