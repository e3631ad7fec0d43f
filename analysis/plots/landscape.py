"""The loss around a trained model on a plane of two random directions: from above, and as a surface."""

from __future__ import annotations

from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from analysis.plots.picture import Picture
from analysis.plots.style import COLUMN, LIGHT, PAGE, Theme, literal, new_figure, themed

_TITLE = 17
"""Characters in a line of a title, when four maps are side by side."""

NO_LOSS = "no point has a finite loss"


def loss_levels(loss: np.ndarray, number: int = 14) -> np.ndarray:
    """Return rising contour levels, evenly spaced by their logarithm from the smallest to the largest finite loss."""
    finite = loss[np.isfinite(loss) & (loss > 0)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.1, 1.0)
    return np.geomspace(low, max(high, low * 1.01), number)


def two_digits(value: float) -> str:
    """Return a loss to two significant digits, without an exponent: 0.047, 1.2, 110, 1,300."""
    return f"{float(f'{value:.2g}'):,g}" if 1e-4 <= value < 1e6 else f"{value:.2g}"


@themed
def draw_landscape_contour(
    x: np.ndarray,
    y: np.ndarray,
    loss: np.ndarray,
    *,
    name: str = "the model",
    width: float = COLUMN,
    theme: Theme = LIGHT,
) -> Picture:
    """Draw `analysis.stats.flatness.surface_data` from above, the trained weights at the cross."""
    figure = new_figure(width, width * 0.86)
    ax = figure.subplots()
    levels = loss_levels(loss)
    norm = LogNorm(levels[0], levels[-1])
    shown = np.ma.masked_invalid(loss)
    filled = ax.contourf(x, y, shown, levels=levels, norm=norm, cmap="viridis")
    lines = ax.contour(x, y, shown, levels=levels, colors="#ffffff", linewidths=0.35)
    ax.clabel(lines, list(levels[2::3]), fmt=two_digits, fontsize=5.5)
    ax.plot(0, 0, "x", color="#ffffff", markersize=5, markeredgewidth=1.4)
    ax.set(
        xlabel="step along direction 1 (filter norms)", ylabel="step along direction 2 (filter norms)", aspect="equal"
    )
    ax.grid(False)
    _color_bar(figure, filled, ax, levels)
    return Picture(figure, f"Loss around {name}", _caption(loss), _alt(loss, "Contour map"))


@themed
def draw_landscape_surface(
    x: np.ndarray,
    y: np.ndarray,
    loss: np.ndarray,
    *,
    name: str = "the model",
    width: float = COLUMN,
    theme: Theme = LIGHT,
) -> Picture:
    """Draw `analysis.stats.flatness.surface_data` in three dimensions; the height is the logarithm of the loss."""
    figure = new_figure(width, width * 0.9)
    ax: Any = figure.add_subplot(projection="3d")
    height = np.log10(np.where(np.isfinite(loss) & (loss > 0), loss, np.nan))
    if np.isnan(height).all():
        ax.set_axis_off()
        figure.text(0.5, 0.5, NO_LOSS, ha="center", va="center", color=theme.muted)
        return Picture(figure, f"Loss surface around {name}", _caption(loss), _alt(loss, "Surface"))
    low, high = np.nanmin(height), np.nanmax(height)
    faces = mpl.colormaps["viridis"](np.nan_to_num((height - low) / (high - low if high > low else 1.0)))
    mesh = ax.plot_surface(
        *np.meshgrid(x, y), height, facecolors=faces, rcount=60, ccount=60, linewidth=0, antialiased=True
    )
    mesh.set_rasterized(True)
    ax.set_xlabel("direction 1", labelpad=-6)
    ax.set_ylabel("direction 2", labelpad=-6)
    ax.set_zlabel("loss (nats)", labelpad=-3)
    ticks = np.linspace(low, high, 4)
    ax.set_zticks(ticks, [two_digits(10**tick) for tick in ticks])
    ax.tick_params(pad=-3, labelsize=5.5)
    ax.set_xticks(np.linspace(x[0], x[-1], 3))
    ax.set_yticks(np.linspace(y[0], y[-1], 3))
    ax.view_init(elev=32, azim=-55)
    ax.set_box_aspect(None, zoom=0.82)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_pane_color(mpl.colors.to_rgba(theme.wash))
        axis._axinfo["grid"].update(color=theme.grid, linewidth=0.4)
    return Picture(figure, f"Loss surface around {name}", _caption(loss), _alt(loss, "Surface"))


@themed
def draw_landscapes(
    surfaces: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]], *, width: float = PAGE, theme: Theme = LIGHT
) -> Picture:
    """Draw several surfaces side by side from above, on one scale of loss, so that basins can be compared."""
    columns = min(len(surfaces), 4)
    rows = -(-len(surfaces) // columns)
    figure = new_figure(width, rows * width / columns + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    every = np.concatenate([loss.ravel() for _, _, loss in surfaces.values()])
    levels = loss_levels(every)
    for ax, (name, (x, y, loss)) in zip(axes, surfaces.items(), strict=False):
        shown = np.ma.masked_invalid(np.clip(loss, levels[0], levels[-1]))
        filled = ax.contourf(x, y, shown, levels=levels, norm=LogNorm(levels[0], levels[-1]), cmap="viridis")
        ax.contour(x, y, shown, levels=levels, colors="#ffffff", linewidths=0.25)
        ax.set_title(literal(fill(name, _TITLE)), fontsize=7)
        ax.set_aspect("equal")
        ax.grid(False)
    for ax in axes[len(surfaces) :]:
        ax.set_axis_off()
    figure.supxlabel("step along direction 1 (filter norms)", fontsize=7)
    figure.supylabel("step along direction 2 (filter norms)", fontsize=7)
    _color_bar(figure, filled, axes.tolist(), levels)
    alt = f"Contour maps of {len(surfaces)} loss surfaces on one scale: {', '.join(surfaces)}."
    return Picture(figure, "Loss landscapes on one scale", _caption(every), alt)


def _color_bar(figure: Figure, filled: Any, ax: Any, levels: np.ndarray) -> None:
    bar = figure.colorbar(filled, ax=ax, label="loss (nats)", pad=0.02, shrink=0.85)
    bar.set_ticks(list(levels[::3]), labels=[two_digits(level) for level in levels[::3]])
    bar.minorticks_off()
    bar.outline.set_visible(False)


def _caption(loss: np.ndarray) -> str:
    return (
        f"Mean cross entropy at {int(np.isfinite(loss).sum())} points on the plane of two random directions, "
        "normalised filter by filter (Li et al. 2018); colours by the logarithm of the loss; the trained weights are "
        "at (0, 0). One trained model each and one pair of directions, so no interval."
    )


def _alt(loss: np.ndarray, kind: str) -> str:
    finite = loss[np.isfinite(loss)]
    if not len(finite):
        return f"{kind} of the loss: {NO_LOSS}."
    return f"{kind} of the loss, from {finite.min():.3g} nats at its lowest point to {finite.max():.3g}."
