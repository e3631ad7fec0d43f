"""The factorization of a matrix or a study, as files, and its pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from analysis.factorization import check_factorization, contraction_by_rank
from analysis.plots.factorization import draw_convergence, draw_rates, draw_spectrum, relative_gaps
from analysis.report.factorize import factorize
from search_spaces.errors import StudyError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def matrix():
    return np.random.default_rng(0).standard_normal((20, 12)) + np.diag([9.0, 7, 5] + [0] * 9).repeat(2, axis=0)[:20]


def test_a_matrix_leaves_pictures_and_tables(matrix, tmp_path):
    report = factorize(matrix, 3, tmp_path / "out", starts=2)
    assert report.passed
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"convergence.png", "spectrum.png", "rates.png", "checks.csv", "checks.md"}
    checks = pd.read_csv(tmp_path / "out" / "checks.csv")
    assert list(checks["check"]) == [check.name for check in report.checks]
    page = (tmp_path / "out" / "checks.md").read_text(encoding="utf-8")
    assert page.startswith("# Rank-3 factorization of a 20 x 12 matrix")
    assert all(check.name in page for check in report.checks)


def test_of_a_study_the_whole_trials_are_taken_and_the_others_counted(results, tmp_path):
    first = results.epochs["digest"] == results.trials["digest"][0]
    cut = dataclasses.replace(results, epochs=results.epochs[~first | (results.epochs["epoch"] <= 2)])
    report = factorize(cut, 2, tmp_path, starts=2)
    assert report.matrix.shape[0] == len(results.trials) - 1
    assert f"1 of {len(results.trials)} trials lack epochs" in report.notes[0]
    assert "were left out" in (tmp_path / "checks.md").read_text(encoding="utf-8")


def test_a_study_without_a_whole_trial_is_refused(results, tmp_path):
    with pytest.raises(StudyError, match="nothing to factorize"):
        factorize(dataclasses.replace(results, epochs=results.epochs[results.epochs["epoch"] < 2]), 1, tmp_path)


def test_a_matrix_with_gaps_is_refused_before_anything_is_written(matrix, tmp_path):
    with pytest.raises(StudyError, match="`complete`"):
        factorize(np.where(matrix > 2, np.nan, matrix), 2, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_picture_has_one_line_a_start_and_the_predicted_slope(matrix):
    report = check_factorization(matrix, 3, starts=3)
    axes = draw_convergence(report).figure.axes[0]
    gaps, floor, unit = relative_gaps(report)
    assert unit == "optimum"
    assert [line.get_label() for line in axes.lines] == ["seed 0", "seed 1", "seed 2", "predicted slope"]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), gaps[0])
    assert gaps[0][0] == pytest.approx(report.traces[0].objectives[0] / report.svd.optimum - 1)
    assert all((gap[:-1] > floor).all() for gap in gaps)
    steps, height = axes.lines[-1].get_data()
    slope = (height[1] / height[0]) ** (1 / (steps[1] - steps[0]))
    assert slope == pytest.approx((report.svd.s[3] / report.svd.s[2]) ** 2)


@pytest.mark.parametrize(("X", "rank"), [(np.zeros((4, 3)), 2), (np.eye(5), 2), (np.eye(4), 4), (np.ones((1, 1)), 1)])
def test_matrices_without_a_slope_or_a_rate_are_drawn_too(X, rank, tmp_path):
    report = factorize(X, rank, tmp_path, starts=2)
    assert "predicted slope" not in [line.get_label() for line in draw_convergence(report).figure.axes[0].lines]


@pytest.mark.parametrize("broken", [1, 3])
def test_starts_that_break_down_at_once_have_no_line_and_the_picture_says_where_all_do(matrix, broken):
    report = check_factorization(matrix, 3, starts=3)
    nothing = np.array([np.inf])
    traces = [dataclasses.replace(trace, objectives=nothing) for trace in report.traces[:broken]]
    picture = draw_convergence(dataclasses.replace(report, traces=(*traces, *report.traces[broken:])))
    picture.figure.draw_without_rendering()
    lines = [line.get_label() for line in picture.figure.axes[0].lines]
    assert lines == ([] if broken == 3 else ["seed 1", "seed 2", "predicted slope"])
    assert ("no run has a finite objective" in picture.caption) is (broken == 3)


def test_the_spectrum_marks_the_rank(matrix):
    axes = draw_spectrum(check_factorization(matrix, 3, starts=1)).figure.axes[0]
    kept, dropped, cut = axes.lines
    np.testing.assert_array_equal(kept.get_xdata(), [1, 2, 3])
    assert len(dropped.get_xdata()) == 9
    assert cut.get_xdata()[0] == 3.5


def test_rates_are_drawn_in_decades_against_the_diagonal(matrix):
    rates = contraction_by_rank(matrix, [1, 2, 3])
    axes = draw_rates(rates).figure.axes[0]
    first = rates[rates["quantity"] == "subspace error"]
    np.testing.assert_allclose(axes.lines[1].get_xdata(), -np.log10(first["predicted"]))
    np.testing.assert_allclose(axes.lines[1].get_ydata(), -np.log10(first["measured"]))
