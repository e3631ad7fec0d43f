from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from analysis.stats.per_image import compare_images, mcnemar, paired_standard_error


def bits(*rows: str) -> np.ndarray:
    return np.array([[digit == "1" for digit in row] for row in rows])


def test_the_standard_error_is_that_of_the_mean_of_the_image_differences() -> None:
    arm, reference = bits("1100", "1010"), bits("1000", "0010")
    # Means over the two seeds: arm 1, 0.5, 0.5, 0; reference 0.5, 0, 0.5, 0; differences 0.5, 0.5, 0, 0.
    assert paired_standard_error(arm, reference) == pytest.approx(math.sqrt(4 * 0.25**2 / 3 / 4))
    assert math.isnan(paired_standard_error(arm[:, :1], reference[:, :1]))


def test_equal_models_have_no_sampling_error_and_independent_ones_that_of_two_samples() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((1, 4000)) < 0.8, rng.random((1, 4000)) < 0.7
    assert paired_standard_error(one, one) == 0
    assert paired_standard_error(one, other) == pytest.approx(math.sqrt((0.8 * 0.2 + 0.7 * 0.3) / 4000), rel=0.05)


def test_the_standard_error_is_the_spread_over_other_test_sets() -> None:
    """Models are fixed: each has its own probability of being correct on each image of a large population."""
    rng = np.random.default_rng(1)
    seeds, population, images = 3, 50_000, 400
    ability = rng.beta(4, 1, population)
    arm, reference = rng.random((seeds, population)) < ability, rng.random((seeds, population)) < ability**1.3
    found, estimates = [], []
    for _ in range(600):
        chosen = rng.choice(population, images, replace=False)
        found.append(arm[:, chosen].mean() - reference[:, chosen].mean())
        estimates.append(paired_standard_error(arm[:, chosen], reference[:, chosen]))
    # The spread of 600 values has a relative standard error of 1 / sqrt(2 * 600).
    assert np.mean(estimates) == pytest.approx(np.std(found), rel=4 / math.sqrt(1200))


@pytest.mark.parametrize("seed", range(6))
def test_mcnemar_agrees_with_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.random(60) < 0.7, rng.random(60) < 0.6
    table = [[(one & other).sum(), (one & ~other).sum()], [(~one & other).sum(), (~one & ~other).sum()]]
    assert mcnemar(one, other) == pytest.approx(reference_mcnemar(table, exact=True).pvalue)


def test_mcnemar_by_hand() -> None:
    one, other = bits("11111111", "11110000")
    assert mcnemar(one, other) == pytest.approx(2 * 0.5**4)
    assert mcnemar(one, one) == 1.0
    assert mcnemar(one, other) == mcnemar(other, one)


def test_under_equal_models_mcnemar_rejects_at_most_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    rejected = [mcnemar(*(rng.random((2, 80)) < 0.7)) < 0.05 for _ in range(1500)]
    assert np.mean(rejected) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)


def test_arms_are_compared_over_the_seeds_that_both_have() -> None:
    arm = {0: bits("1100")[0], 1: bits("1111")[0], 7: bits("0000")[0]}
    reference = {1: bits("1110")[0], 0: bits("1100")[0], 5: bits("0000")[0]}
    found = compare_images(arm, reference)
    assert found is not None
    assert (found.images, found.seeds, found.agreement) == (4, (0, 1), pytest.approx(7 / 8))
    assert found.own_agreement == pytest.approx(3 / 4)
    assert found.mcnemar_p == (1.0, 1.0)
    assert compare_images({0: arm[0]}, {1: reference[1]}) is None
    single = compare_images({0: arm[0]}, {0: reference[0]})
    assert single is not None
    assert math.isnan(single.own_agreement)


def test_agreement_of_the_reference_is_the_mean_over_all_pairs_of_its_seeds() -> None:
    rng = np.random.default_rng(3)
    rows = rng.random((5, 50)) < 0.6
    by_seed = dict(enumerate(rows))
    pairs = [(rows[i] == rows[j]).mean() for i in range(5) for j in range(i)]
    found = compare_images(by_seed, by_seed)
    assert found is not None
    assert found.own_agreement == pytest.approx(np.mean(pairs))
    assert found.agreement == 1.0
