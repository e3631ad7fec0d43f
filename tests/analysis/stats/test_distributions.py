"""The distribution functions against those of scipy.stats, into the tails."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from analysis.stats.distributions import (
    chi2_isf,
    normal_isf,
    normal_pdf,
    normal_sf,
    t_cdf,
    t_isf,
    t_sf,
    two_sided_power,
)

X = np.array([-40.0, -3.0, -0.1, 0.0, 0.7, 2.5, 9.0, 60.0])[:, None]
P = np.array([1e-12, 1e-5, 0.01, 0.025, 0.5, 0.9, 0.999])[:, None]
FREEDOM = np.array([1, 2, 2.7, 9, 200])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (t_cdf(X, FREEDOM), stats.t.cdf(X, FREEDOM)),
        (t_sf(X, FREEDOM), stats.t.sf(X, FREEDOM)),
        (t_isf(P, FREEDOM), stats.t.isf(P, FREEDOM)),
        (normal_sf(X), stats.norm.sf(X)),
        (normal_isf(P), stats.norm.isf(P)),
        (normal_pdf(X), stats.norm.pdf(X)),
        (chi2_isf(P, FREEDOM), stats.chi2.isf(P, FREEDOM)),
    ],
)
def test_equal_to_scipy_stats(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 50, 400])
@pytest.mark.parametrize("tail", [0.2, 0.025, 0.0025, 1e-4])
def test_power_is_the_two_tails_of_the_noncentral_t(freedom, tail):
    critical = float(stats.t.isf(tail, freedom))
    for noncentrality in np.linspace(0.0, 40.0, 161).tolist():
        tails = stats.nct.sf(critical, freedom, noncentrality) + stats.nct.sf(critical, freedom, -noncentrality)
        found = two_sided_power(critical, freedom, noncentrality)
        assert found == pytest.approx(tails, abs=1e-8, nan_ok=True) or (np.isnan(tails) and 0 <= found <= 1)


def test_what_a_plan_needs_does_not_import_scipy_stats():
    code = "import sys, analysis.stats.power; print('scipy.stats' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
