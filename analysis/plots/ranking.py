"""The critical-difference diagram (Demsar 2006): mean ranks of the arms, joined where they cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Styles, Theme, new_figure, shorten, themed


def cliques(ranks: Mapping[str, float], differ: Mapping[tuple[str, str], bool]) -> list[tuple[str, ...]]:
    """Return the largest runs of arms, neighbours by rank, of which no two differ; runs of one are left out.

    ``differ`` holds each unordered pair once, in either order.
    """
    order = sorted(ranks, key=lambda arm: ranks[arm])

    def apart(a: str, b: str) -> bool:
        return bool(differ[(a, b)] if (a, b) in differ else differ[(b, a)])

    found: list[tuple[int, int]] = []
    for start in range(len(order)):
        stop = start
        while stop + 1 < len(order) and not any(apart(order[i], order[stop + 1]) for i in range(start, stop + 1)):
            stop += 1
        if stop > start and (not found or stop > found[-1][1]):
            found.append((start, stop))
    return [tuple(order[start : stop + 1]) for start, stop in found]


@themed
def draw_ranking(
    ranks: Mapping[str, float],
    groups: Sequence[Sequence[str]],
    styles: Styles,
    *,
    n: int,
    test: str,
    width: float = PAGE,
    theme: Theme = LIGHT,
) -> Picture:
    """Draw mean ranks (1 is best) with ``cliques`` as bars; ``n`` blocks, and the name of the test behind the bars."""
    order = sorted(ranks, key=lambda arm: ranks[arm])
    k = len(order)
    half = -(-k // 2)
    top = 0.3 + 0.22 * len(groups)
    figure = new_figure(width, 0.75 + 0.22 * (half + len(groups)))
    ax = figure.subplots()
    ax.set_axis_off()
    ax.plot([1, k], [0, 0], color=theme.ink, linewidth=0.8)
    for tick in range(1, k + 1):
        ax.plot([tick, tick], [0, 0.12], color=theme.ink, linewidth=0.8)
        ax.text(tick, 0.18, str(tick), ha="center", va="bottom", fontsize=7)
    for place, arm in enumerate(order):
        left = place < half
        depth = -top - 0.26 * (place if left else k - 1 - place)
        edge = 1 - 0.02 * k if left else k + 0.02 * k
        style = styles[arm]
        color = style.color(theme)
        style.tag(ax.plot([ranks[arm], ranks[arm], edge], [0, depth, depth], color=color, linewidth=0.9)[0])
        text = f"{shorten(arm, 26)}  {ranks[arm]:.2f}" if left else f"{ranks[arm]:.2f}  {shorten(arm, 26)}"
        style.tag(ax.text(edge, depth, f" {text} ", ha="right" if left else "left", va="center", fontsize=7))
    for row, group in enumerate(groups):
        ends = [ranks[group[0]] - 0.04, ranks[group[-1]] + 0.04]
        ax.plot(ends, [-0.16 - 0.22 * row] * 2, color=theme.ink, linewidth=2.6, solid_capstyle="butt")
    ax.set_xlim(1 - 0.45 * k, k + 0.45 * k)
    said = "; ".join(f"{arm} {ranks[arm]:.2f}" for arm in order)
    joined = "; ".join(" and ".join(group) for group in groups) or "none"
    return Picture(
        figure,
        "Mean ranks",
        f"Mean rank of each arm over n = {n} seeds (1 is best). Arms joined by a bar cannot be told apart ({test}).",
        f"Critical-difference diagram. Mean ranks: {said}. Not told apart: {joined}.",
    )


def mean_ranks(values: np.ndarray, arms: Sequence[str], higher_is_better: bool = True) -> dict[str, float]:
    """Return each arm's mean rank over blocks; ``values`` is (arms, blocks), complete; ties share their mean rank."""
    ranked = rankdata(-values if higher_is_better else values, axis=0)
    return {arm: float(rank) for arm, rank in zip(arms, ranked.mean(axis=1), strict=True)}
