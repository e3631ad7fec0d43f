"""Flatness: the Laplacian's variance by hand, and the table of models."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from analysis.stats.flatness import common_surface, inner_half, landscape_measures, laplacian_variance, log10
from analysis.stats.landscape import flatness
from analysis.store.load import StudyResults, load_study
from bench.make_store import write_store
from search_spaces.metrics import LANDSCAPE_METRICS

X, Y = np.linspace(-1, 1, 5), np.linspace(-2, 2, 9)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    return load_study(write_store(tmp_path_factory.mktemp("flat"), seeds=1))


def surface(function, x=X, y=Y):
    return x, y, function(*np.meshgrid(x, y))


def test_a_quadratic_has_the_same_laplacian_everywhere():
    assert laplacian_variance(*surface(lambda x, y: 3 + 2 * x - y + 4 * x**2 + x * y - y**2)) == pytest.approx(
        0, abs=1e-20
    )


def test_the_variance_of_a_known_polynomials_laplacian():
    # x^3 + x y^2: second differences are exact up to cubics, so the Laplacian is 6x + 2x = 8x at every interior x.
    interior = np.array([-0.5, 0.0, 0.5])
    expected = np.mean((8 * interior) ** 2)
    assert laplacian_variance(*surface(lambda x, y: x**3 + x * y**2)) == pytest.approx(expected)
    assert expected == pytest.approx(32 / 3)


def test_a_finer_grid_of_the_same_surface_tends_to_the_integral():
    # The Laplacian of x^3 is 6x; over (-1, 1) its variance is 36 / 3.
    fine = np.linspace(-1, 1, 401)
    assert laplacian_variance(*surface(lambda x, y: x**3 + 0 * y, fine, np.linspace(-1, 1, 3))) == pytest.approx(
        12, rel=0.02
    )


def test_points_beside_a_missing_loss_are_left_out():
    x, y, loss = surface(lambda x, y: x**3 + 0 * y)
    loss[4, 2] = np.inf
    kept = np.full((7, 3), 6.0) * X[1:-1]
    kept[3, :] = kept[2, 1] = kept[4, 1] = np.nan
    assert laplacian_variance(x, y, loss) == pytest.approx(np.nanvar(kept))


def test_a_grid_without_interior_has_no_laplacian():
    assert np.isnan(laplacian_variance(X[:2], Y, np.zeros((9, 2))))


def test_every_model_and_surface_has_a_row(study):
    found = flatness(study)
    assert len(found) == 1
    row = found.iloc[0]
    assert (row.arm, row.seed, row.points, row.split) == ("baseline", 0, 81, "val")
    assert row.centre_loss == pytest.approx(0.3)
    assert row.laplacian_variance == pytest.approx(0, abs=1e-20)
    assert (row.top_eigenvalue, row.residual) == (4.0, 1e-4)


def test_the_inner_half_of_a_surface_is_that_of_half_the_range():
    axis = np.linspace(-2, 2, 9)
    x, y, loss = inner_half(*surface(lambda x, y: x + 10 * y, axis, axis))
    assert x.tolist() == y.tolist() == [-1, -0.5, 0, 0.5, 1]
    np.testing.assert_allclose(loss, x[None] + 10 * y[:, None])


def test_measures_are_logarithms_by_trial(study):
    rough = surface(lambda x, y: x**3 + 0 * y)
    measures = landscape_measures(study)
    assert list(measures) == list(LANDSCAPE_METRICS)
    assert len(measures) == len(study.trials)
    first = measures[study.trials["digest"].isin(study.landscape["digest"])].iloc[0]
    assert first["centre_loss"] == pytest.approx(0.3)
    assert first["sharpness"] == pytest.approx(np.log10(4))
    bare = dataclasses.replace(study, curvature=study.curvature.iloc[:0])
    assert landscape_measures(bare)["sharpness"].isna().all()
    assert laplacian_variance(*inner_half(*rough)) < laplacian_variance(*rough)


def test_measures_are_of_the_surface_that_most_models_have(study):
    wide = study.landscape.assign(loss=study.landscape["loss"] + study.landscape["x"] ** 3)
    other = wide.assign(digest=study.trials["digest"].iloc[-1])
    narrow = wide.assign(surface="narrow", x=wide["x"] / 2, y=wide["y"] / 2, loss=2 + 5 * wide["x"] ** 3)
    bent = study.curvature.assign(surface="narrow", top_eigenvalue=100.0)
    both = dataclasses.replace(
        study,
        landscape=pd.concat([narrow, wide, other], ignore_index=True),
        curvature=pd.concat([study.curvature, bent], ignore_index=True),
    )
    assert common_surface(both.landscape) == study.landscape["surface"].iloc[0]
    measures = landscape_measures(both)
    alone = landscape_measures(dataclasses.replace(study, landscape=wide))
    of_both = study.trials["digest"].isin(both.landscape["digest"])
    assert of_both.sum() == 2
    for row in measures[of_both].drop(columns="sharpness").to_numpy():
        np.testing.assert_allclose(row, alone.dropna(subset="roughness").iloc[0].drop("sharpness").to_numpy(float))
    assert measures["sharpness"].dropna().tolist() == [pytest.approx(np.log10(4))]


def test_what_the_store_lacks_is_nan(study):
    bare = dataclasses.replace(study, curvature=study.curvature.iloc[:0])
    assert flatness(bare)[["top_eigenvalue", "residual"]].isna().all(axis=None)
    none = flatness(dataclasses.replace(bare, landscape=study.landscape.iloc[:0]))
    assert (len(none), list(none)) == (0, list(flatness(study)))


def test_the_logarithm_of_what_is_not_above_0_is_not_known() -> None:
    assert log10(100.0) == pytest.approx(2)
    assert np.isnan([log10(value) for value in (0.0, -1.0, float("nan"))]).all()
