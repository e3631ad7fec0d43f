from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from analysis.stats.noise import noise_of, noise_table
from analysis.store.load import StudyResults


def test_parts_by_hand():
    found = noise_of(np.array([0.8, 0.9]), 1600)
    assert found["seed_sd"] == pytest.approx(np.sqrt(0.005))
    assert found["test_sd"] == pytest.approx(np.sqrt(0.85 * 0.15 / 1600))
    assert found["run_sd_low"] == pytest.approx(np.sqrt(0.005 - 0.85 * 0.15 / 1600))
    assert found["new_images_sd"] == pytest.approx(np.sqrt(0.005 + 0.85 * 0.15 / 1600))
    assert found["mean_sd"] == pytest.approx(np.sqrt(0.005 / 2 + 0.85 * 0.15 / 1600))


def test_bounds_hold_the_truth_of_a_simulation():
    """Runs with accuracies a, images of unequal difficulty: the spread on one test set and on new ones."""
    rng = np.random.default_rng(0)
    images, runs, sets, spread = 400, 40, 150, 0.02
    fixed, fresh = [], []
    for _ in range(sets):
        difficulty = rng.beta(4, 1, images)
        luck = rng.normal(0, spread, (runs, 1))
        right = rng.random((runs, images)) < np.clip(difficulty + luck * 4 * difficulty * (1 - difficulty), 0, 1)
        accuracy = right.mean(axis=1)
        fixed.append(accuracy.var(ddof=1))
        fresh.append(accuracy[0])
    seed_sd, m = np.sqrt(np.mean(fixed)), np.mean(fresh)
    test_variance = m * (1 - m) / images
    true_run_sd = spread * 4 * (4 / 5 - 4 * 5 / (5 * 6))  # E of 4 p (1 - p) for beta(4, 1)
    assert np.sqrt(max(seed_sd**2 - test_variance, 0)) <= true_run_sd <= seed_sd
    assert np.var(fresh, ddof=1) <= (seed_sd**2 + test_variance) * 1.25  # sampling error of 150 draws
    assert np.var(fresh, ddof=1) >= test_variance * 0.75


def test_one_seed_shows_no_seed_noise_but_test_noise():
    found = noise_of(np.array([0.9]), 100)
    assert np.isnan(found["seed_sd"])
    assert found["test_sd"] == pytest.approx(0.03)
    assert np.isnan(list(noise_of(np.array([]), None).values())[2:]).all()


def test_table_counts_the_images_of_the_confusion_matrix(results: StudyResults):
    table = noise_table(results).set_index("arm")
    assert set(table["test_images"]) == {10_000}
    assert set(table["n"]) == {5}
    trials = results.trials.copy()
    trials.loc[0, "status"] = "diverged"
    trials["test_confusion"] = None
    unknown = noise_table(dataclasses.replace(results, trials=trials)).set_index("arm")
    assert unknown.loc["baseline", "n"] == 4
    assert unknown["test_sd"].isna().all()
