"""Alternating least squares in pictures: its convergence, the spectrum it works on, its speed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.factorization.als import rounding_of_objective
from analysis.factorization.matrix import Matrix
from analysis.factorization.report import FactorizationReport
from analysis.plots.picture import Picture
from analysis.plots.style import COLUMN, DASHES, LIGHT, MARKERS, Theme, new_figure, themed


@themed
def draw_convergence(report: FactorizationReport, *, width: float = COLUMN, theme: Theme = LIGHT) -> Picture:
    """Draw the objective's gap to the optimum against half-steps, one line a start, with the predicted slope."""
    figure = new_figure(width, 0.85 * width)
    ax = figure.subplots()
    found, floor, unit = relative_gaps(report)
    gaps = [gap for gap in found if len(gap)]
    if not gaps:
        ax.set_axis_off()
        said = "no run has a finite objective"
        figure.text(0.5, 0.5, said, ha="center", va="center", color=theme.muted)
        caption = f"ALS at rank {report.svd.rank} from {len(report.traces)} random starts: {said}."
        return Picture(figure, "Random starts against the optimum", caption, f"No lines: {said}.")
    for index, (trace, gap) in enumerate(zip(report.traces, found, strict=True)):
        if not len(gap):  # a run that broke down in its first half-step
            continue
        color = theme.palette[index % len(theme.palette)]
        dash = DASHES[index // len(theme.palette) % len(DASHES)]
        marker = "." if len(gap) <= 20 else None
        steps = np.arange(1, len(gap) + 1)
        ax.plot(steps, gap, color=color, linestyle=dash, marker=marker, linewidth=1.0, label=f"seed {trace.seed}")
    slope = _draw_slope(ax, report, gaps, floor, theme)
    bottom = floor / 100
    ax.axhspan(bottom, floor, color=theme.wash, zorder=0)
    ax.text(0.02, 1.3 * bottom, "rounding", color=theme.muted, fontsize=6.5, transform=ax.get_yaxis_transform())
    ax.set_yscale("log")
    ax.set_ylim(bottom, max(1000 * floor, *(5 * float(gap.max()) for gap in gaps)))
    ax.set_xlim(0, 1.03 * max(6, *(len(gap) for gap in gaps)))
    ax.set_xlabel("half-steps (two a sweep)")
    ax.set_ylabel(f"(objective − optimum) / {unit}")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    figure.legend(loc="outside lower center", ncols=3)
    caption = f"ALS at rank {report.svd.rank} from {len(report.traces)} random starts. {slope}".strip()
    alt = f"Lines on a logarithmic axis: the gap of {len(report.traces)} ALS runs to the optimum."
    return Picture(figure, "Random starts against the optimum", caption, alt)


def relative_gaps(report: FactorizationReport) -> tuple[list[Matrix], float, str]:
    """Return each run's gap after every half-step, the size of rounding, and the name of the unit both are in.

    The unit is the optimum, or half the energy of X where the optimum is 0. A run is cut where it reaches rounding.
    """
    X, optimum = report.matrix, report.svd.optimum
    rounding = rounding_of_objective(X, optimum)
    unit, name = (optimum, "optimum") if optimum > rounding else (0.5 * float(np.vdot(X, X)) or 1.0, "½‖X‖²")
    floor = max(rounding / unit, float(np.finfo(float).eps) ** 2)
    gaps = []
    for trace in report.traces:
        gap = (trace.objectives[np.isfinite(trace.objectives)] - optimum) / unit
        below = np.flatnonzero(gap <= floor)
        gaps.append(np.maximum(gap[: below[0] + 1] if len(below) else gap, floor / 3))
    return gaps, floor, name


@themed
def draw_spectrum(report: FactorizationReport, *, width: float = COLUMN, theme: Theme = LIGHT) -> Picture:
    """Draw the singular values with the rank marked; those that are rounding are left out."""
    svd = report.svd
    s = svd.s[svd.s > svd.noise]
    index = np.arange(1, len(s) + 1)
    kept = index <= svd.rank
    figure = new_figure(width, 0.72 * width)
    ax = figure.subplots()
    size = 3.5 if len(s) <= 60 else 1.8
    for mask, color, marker, name in ((kept, 0, "o", "kept"), (~kept, 1, "s", "dropped")):
        if mask.any():
            share = float(np.sum(s[mask] ** 2) / np.sum(s**2))
            label = f"{name}: {mask.sum()} values, {100 * share:.4g} % of ‖X‖²"
            ax.plot(index[mask], s[mask], marker, color=theme.palette[color], markersize=size, label=label)
    ax.axvline(svd.rank + 0.5, color=theme.ink, linewidth=0.8, linestyle=(0, (3, 2)))
    ax.set_yscale("log" if len(s) and s[0] > 5 * s[-1] else "linear")
    ax.set_xlabel("index i")
    ax.set_ylabel("singular value $s_i$ (unit of X)")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if len(s):
        figure.legend(loc="outside lower center", handlelength=1.0, labelspacing=0.25)
    m, n = report.matrix.shape
    caption = (
        f"Singular values of the {m} × {n} matrix above rounding ({len(s)} of {len(svd.s)}); the dashed line cuts at "
    )
    caption += f"rank {svd.rank}: $(s_{{{svd.rank + 1}}}/s_{{{svd.rank}}})^2$ = {svd.contraction:.4g}."
    return Picture(figure, "Spectrum and rank", caption, f"{len(s)} falling points, the first {svd.rank} of them kept.")


@themed
def draw_rates(rates: pd.DataFrame, *, width: float = COLUMN, theme: Theme = LIGHT) -> Picture:
    """Draw measured against predicted speed, in decades a sweep, from the table of `contraction_by_rank`."""
    figure = new_figure(width, width)
    ax = figure.subplots()
    decades = rates.assign(**{name: -np.log10(rates[name]) for name in ("predicted", "law", "measured")})
    sizes = decades[["predicted", "law", "measured"]].to_numpy().ravel()
    low, high = (0.6 * float(sizes.min()), 1.7 * float(sizes.max())) if len(sizes) else (0.1, 1.0)
    ax.plot([low, high], [low, high], color=theme.muted, linewidth=0.8, label="the limit itself")
    for index, (quantity, rows) in enumerate(decades.groupby("quantity", sort=False)):
        color, marker = theme.palette[index], MARKERS[index]
        ring: dict[str, Any] = {"markerfacecolor": "none", "markersize": 7, "markeredgewidth": 0.7, "linestyle": "none"}
        ax.plot(rows["predicted"], rows["measured"], marker, color=color, label=f"{quantity}, measured")
        ax.plot(rows["predicted"], rows["law"], marker=marker, color=color, label="expected in those sweeps", **ring)
        label: dict[str, Any] = {
            "textcoords": "offset points",
            "fontsize": 6,
            "color": color,
            "ha": "center",
            "va": "center",
        }
        for rank, x, y in zip(rows["rank"], rows["predicted"], rows["measured"], strict=True):
            ax.annotate(str(rank), (x, y), ((-8, 8), (8, -8))[index], **label)
    ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    ax.set_xlabel("predicted limit, decades a sweep")
    ax.set_ylabel("measured, decades a sweep")
    figure.legend(loc="outside lower center", ncols=2, handlelength=1.2, labelspacing=0.25, columnspacing=0.8)
    caption = (
        "Figures beside the points: rank r. Limits: $-\\log_{10}\\,(s_{r+1}/s_r)^2$ for the tangent of the largest "
        "subspace angle, twice that for the objective's gap. Points off the line were measured before the limit was "
        "reached; the open marks show what theory expects there."
    )
    count = rates["rank"].nunique()
    return Picture(
        figure, "Speed of ALS", caption, f"Measured against predicted speed at {count} ranks: near the diagonal."
    )


def _draw_slope(ax: Axes, report: FactorizationReport, gaps: list[Matrix], floor: float, theme: Theme) -> str:
    """Draw a line of the asymptotic slope above the slowest run, and return the sentence that says it."""
    svd = report.svd
    slowest = max(gaps, key=lambda gap: (len(gap), gap[-1]))
    if svd.is_tied or svd.is_deficient or svd.dropped <= svd.noise or len(slowest) < 4:
        return ""
    last = len(slowest) - (slowest[-1] <= floor)
    steps = np.array([1 + last // 3, last])
    line = 10 * slowest[last - 1] * svd.contraction ** (steps - last)
    ax.plot(steps, line, color=theme.ink, linestyle=(0, (4, 2)), linewidth=1.0, label="predicted slope")
    return f"The dashed line falls by $(s_{{r+1}}/s_r)^2$ = {svd.contraction:.4g} a half-step."
