"""The critical-difference diagram (Demsar 2006): mean ranks of the arms, joined within the critical difference."""

from __future__ import annotations

from matplotlib.axes import Axes

from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Styles, Theme, new_figure, shorten, themed
from analysis.stats.ranking import Ranking


@themed
def draw_ranking(
    found: Ranking, styles: Styles, *, replicate: str = "seed", width: float = PAGE, theme: Theme = LIGHT
) -> Picture:
    """Draw a ranking of at least three arms: the best on the left, bars under groups within the critical difference."""
    ranks = found.mean_ranks.sort_values(kind="stable")
    k = len(ranks)
    half = -(-k // 2)
    figure = new_figure(width, 0.95 + 0.22 * (half + len(found.groups)))
    ax = figure.subplots()
    ax.set_axis_off()
    ax.plot([1, k], [0, 0], color=theme.ink, linewidth=0.8)
    for tick in range(1, k + 1):
        ax.plot([tick, tick], [0, 0.12], color=theme.ink, linewidth=0.8)
        ax.text(tick, 0.18, str(tick), ha="center", va="bottom", fontsize=7)
    ruler = min(found.critical_difference, k - 1.0)
    ax.plot([1, 1 + ruler], [0.72, 0.72], color=theme.muted, linewidth=1.4)
    ax.text(
        1, 0.8, f"critical difference {found.critical_difference:.2f}", va="bottom", fontsize=6.5, color=theme.muted
    )
    for place, (arm, rank) in enumerate(ranks.items()):
        row = place if place < half else k - 1 - place
        _name(ax, str(arm), float(rank), -0.3 - 0.22 * len(found.groups) - 0.26 * row, place < half, k, styles, theme)
    for row, group in enumerate(found.groups):
        ends = [float(ranks[group[0]]) - 0.04, float(ranks[group[-1]]) + 0.04]
        ax.plot(ends, [-0.16 - 0.22 * row] * 2, color=theme.ink, linewidth=2.6, solid_capstyle="butt")
    ax.set_xlim(1 - 0.45 * k, k + 0.45 * k)
    said = "; ".join(f"{arm} {rank:.2f}" for arm, rank in ranks.items())
    joined = "; ".join(" and ".join(group) for group in found.groups) or "none"
    notes = " ".join(f"{note[0].upper()}{note[1:]}." for note in found.notes)
    caption = (
        f"Mean rank of each arm over n = {len(found.seeds)} {replicate}s, 1 being the best (Friedman's p = "
        f"{found.friedman_p:.3g}). Arms joined by a bar lie within Nemenyi's critical difference at 5 %. {notes}"
    )
    alt = f"Critical-difference diagram. Mean ranks: {said}. Not significantly different: {joined}."
    return Picture(figure, "Mean ranks", caption.strip(), alt)


def _name(ax: Axes, arm: str, rank: float, depth: float, is_left: bool, k: int, styles: Styles, theme: Theme) -> None:
    """Draw an arm's line from its rank on the axis to its name at the edge."""
    edge = 1 - 0.02 * k if is_left else k + 0.02 * k
    style = styles[arm]
    style.tag(ax.plot([rank, rank, edge], [0, depth, depth], color=style.color(theme), linewidth=0.9)[0])
    text = f" {shorten(arm, 26)}  {rank:.2f} " if is_left else f" {rank:.2f}  {shorten(arm, 26)} "
    style.tag(ax.text(edge, depth, text, ha="right" if is_left else "left", va="center", fontsize=7))
