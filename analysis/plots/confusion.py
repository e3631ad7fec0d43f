"""Which classes are taken for which: the test confusion matrices of an arm, summed over its seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.plots.heatmap import bare, contrasting
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Theme, new_figure, shorten, themed


def confusion_data(trials: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Return counts by true class (rows) and predicted class (columns), summed over the arm's trials.

    ``attrs["n"]`` is the number of trials. The table is empty where no trial has a matrix. A matrix that is not of the
    classes that the first trial names is left out: its file is damaged, or the classes are too many to store it.
    """
    known = trials[(trials["arm"] == arm) & trials["test_confusion"].notna() & trials["classes"].notna()]
    classes = [str(name) for name in known["classes"].iloc[0]] if len(known) else []
    known = known[[len(matrix) == len(classes) ** 2 for matrix in known["test_confusion"]]]
    if not len(known):
        return pd.DataFrame()
    flat = np.stack([np.asarray(matrix, dtype=np.int64) for matrix in known["test_confusion"]])
    table = pd.DataFrame(flat.sum(axis=0).reshape(len(classes), len(classes)), index=classes, columns=classes)
    table.attrs["n"] = len(known)
    return table


@themed
def draw_confusion(counts: pd.DataFrame, arm: str, *, width: float = PAGE * 0.6, theme: Theme = LIGHT) -> Picture:
    """Draw ``confusion_data`` as shares of each true class, in per cent; written out up to 20 classes."""
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0) * 100
    k = len(shares)
    figure = new_figure(width, width * 0.9)
    ax = figure.subplots()
    mesh = ax.pcolormesh(
        shares, cmap="cividis", vmin=0, vmax=100, edgecolors=theme.surface, linewidth=0.6 if k <= 20 else 0
    )
    if k <= 20:
        for (i, j), value in np.ndenumerate(shares.to_numpy()):
            if value >= 0.05:
                ink = contrasting(mesh.cmap(mesh.norm(value)))
                text = f"{value:.1f}" if value < 99.95 else "100"
                ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", color=ink, fontsize=max(4.5, 8 - 0.28 * k))
        names = [shorten(name, 12) for name in shares.index]
        ax.set_xticks(np.arange(k) + 0.5, names, rotation=0 if k <= 5 else 45, ha="center" if k <= 5 else "right")
        ax.set_yticks(np.arange(k) + 0.5, names)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.invert_yaxis()
    ax.set_aspect("equal")
    bare(ax)
    figure.colorbar(mesh, ax=ax, label="share of the true class (%)", shrink=0.8, pad=0.02).outline.set_visible(False)
    return Picture(
        figure,
        f"Confusion matrix of {arm}",
        f"Test images of each true class (rows) by predicted class, in per cent of the row; n = {counts.attrs['n']} "
        f"trials with {int(counts.to_numpy().sum()):,} predictions, summed.",
        f"Confusion matrix of {k} classes. {_worst(shares)}",
    )


def _worst(shares: pd.DataFrame) -> str:
    wrong = shares.to_numpy(float, copy=True)
    np.fill_diagonal(wrong, -1)
    i, j = np.unravel_index(int(wrong.argmax()), wrong.shape)
    if wrong[i, j] <= 0:
        return "No class is taken for another."
    return f"Most often mistaken: {shares.index[int(i)]} for {shares.columns[int(j)]}, {wrong[i, j]:.1f} %."
