from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import designs
from search_spaces.errors import StudyError

LEVELS = st.lists(st.integers(2, 4), min_size=1, max_size=5)
COUNTS = st.integers(2, 6)


def test_one_factor_at_a_time_by_hand():
    assert designs.one_factor_at_a_time([3, 2]) == [(0, 0), (1, 0), (2, 0), (0, 1)]


def test_leave_one_out_by_hand():
    assert designs.leave_one_out([2, 2, 2]) == [(1, 1, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0, 0)]


def test_leave_one_out_of_one_factor_is_with_and_without():
    assert designs.leave_one_out([2]) == [(1,), (0,)]


def test_full_factorial_by_hand():
    assert designs.full_factorial([2, 3]) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


def test_half_fraction_by_hand():
    # Signs of a, b, c = ab (Box & Hunter 1961): --+, -+-, +--, +++; turned so that the first row is the baseline.
    assert designs.fractional_factorial([2, 2, 2], "a b ab") == [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]


@given(LEVELS)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_one_factor_at_a_time_moves_one_factor_and_reaches_each_level_once(levels):
    rows = designs.one_factor_at_a_time(levels)
    assert len(rows) == len(set(rows)) == 1 + sum(count - 1 for count in levels)
    assert all(sum(index > 0 for index in row) <= 1 for row in rows)
    for factor, count in enumerate(levels):
        assert sorted(row[factor] for row in rows if row[factor]) == list(range(1, count))


@given(COUNTS)
@settings(max_examples=10, deadline=None, derandomize=True)
def test_leave_one_out_has_n_plus_two_rows_each_lacking_one_factor(count):
    rows = designs.leave_one_out([2] * count)
    assert len(rows) == len(set(rows)) == count + 2
    assert [sum(row) for row in rows] == [count] + [count - 1] * count + [0]


@given(LEVELS)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_full_factorial_holds_each_combination_once_the_baseline_first(levels):
    rows = designs.full_factorial(levels)
    assert len(rows) == len(set(rows)) == math.prod(levels)
    assert rows[0] == (0,) * len(levels)


@given(st.integers(3, 8), st.sampled_from([3, 4, 5]))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_fraction_of_a_resolution_is_balanced_orthogonal_and_holds_the_baseline(count, resolution):
    rows = np.array(designs.fractional_factorial([2] * count, resolution))
    assert not rows[0].any()
    assert (rows.mean(axis=0) == 0.5).all()
    signs = 2 * rows - 1
    np.testing.assert_array_equal(signs.T @ signs, len(rows) * np.eye(count))
    # The resolution: the product of fewer than `resolution` columns is never constant (no shorter defining word).
    for size in range(1, resolution):
        for columns in itertools.combinations(range(count), size):
            assert abs(signs[:, list(columns)].prod(axis=1).sum()) < len(rows)


def test_two_to_the_five_minus_two_has_eight_runs_and_resolution_three():
    rows = np.array(designs.fractional_factorial([2] * 5, 3))
    assert rows.shape == (8, 5)
    signs = 2 * rows - 1
    words = {
        columns
        for size in range(1, 6)
        for columns in itertools.combinations(range(5), size)
        if abs(signs[:, list(columns)].prod(axis=1).sum()) == 8
    }
    assert len(words) == 3  # two generators and their product
    assert min(map(len, words)) == 3


def test_aliases_of_the_half_fraction_of_four_factors():
    # I = abcd (Box & Hunter 1961): each main effect with a three-factor interaction, two-factor interactions in pairs.
    assert designs.aliases([2] * 4, "a b c abc", ["norm", "depth", "lr", "batch_size"]) == [
        "norm = depth:lr:batch_size",
        "depth = norm:lr:batch_size",
        "lr = norm:depth:batch_size",
        "batch_size = norm:depth:lr",
        "norm:depth = lr:batch_size",
        "norm:lr = depth:batch_size",
        "norm:batch_size = depth:lr",
    ]


def test_full_fraction_has_no_aliases():
    assert designs.aliases([2, 2], "a b", ["norm", "depth"]) == []


@pytest.mark.parametrize("generator", ["a b c abc", "A B C -ABC", " a  b c  +abc "])
def test_generators_are_read_as_pydoe_writes_them(generator):
    rows = designs.fractional_factorial([2] * 4, generator)
    assert len(rows) == len(set(rows)) == 8
    assert rows[0] == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        ("", "0 words, but must have one for each of the 4"),
        ("a b ab", "3 words"),
        ("a b c !x", "words of letters"),
        ("a b c import(os)", "words of letters"),
        ("b c d bcd", "not usable"),
        ("ab ac bc abc", "not usable"),
        ("a b c c", "not usable"),
        ("a b c aa", "confounds two of its factors"),
        ("a b ab ba", "confounds two of its factors"),
    ],
)
def test_unusable_generators_are_refused(generator, message):
    with pytest.raises(StudyError, match=message):
        designs.fractional_factorial([2] * 4, generator)


@pytest.mark.parametrize("count", [1, 16])
def test_fractions_of_too_few_or_too_many_factors_are_refused(count):
    with pytest.raises(StudyError, match=f"2 to 15 factors, not {count}"):
        designs.fractional_factorial([2] * count, 3)


@pytest.mark.parametrize("design", [designs.leave_one_out, lambda levels: designs.fractional_factorial(levels, 3)])
def test_two_level_designs_refuse_more_levels(design):
    with pytest.raises(StudyError, match=r"two levels.*have 2, 3"):
        design([2, 3])


def test_cells_come_seed_by_seed_so_that_pairs_are_whole():
    assert designs.with_seeds("ab", [5, 7]) == [("a", 5), ("b", 5), ("a", 7), ("b", 7)]


@given(st.lists(st.integers(), min_size=1, max_size=5, unique=True), st.integers(1, 5))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_every_arm_has_the_same_seeds(seeds, arms):
    cells = designs.with_seeds(range(arms), seeds)
    assert len(cells) == arms * len(seeds)
    for arm in range(arms):
        assert [seed for of, seed in cells if of == arm] == seeds
