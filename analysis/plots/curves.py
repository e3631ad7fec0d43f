"""Learning curves: the mean over seeds with its interval; stopped trials end where they were stopped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.plots._words import span
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Styles, Theme, new_figure, shorten, themed
from analysis.stats.distributions import t_isf
from analysis.store.load import StudyResults
from search_spaces.metrics import SPLIT_LABELS, Metric, quantity_of

MOST_QUANTITIES = 2
Records = Mapping[str, Metric]
"""Metric by name."""
_COLUMNS = ["metric", "arm", "kind", "trial", "epoch", "value", "low", "high", "n"]


def curve_metrics(results: StudyResults) -> dict[str, Metric]:
    """Return the metrics whose learning curves show a study best, by name, in the order of their declaration.

    They are the training and validation figures of two quantities: that of `choose_by`, and the first other one.
    """
    epochs = results.epochs
    recorded = [str(name) for name in epochs.select_dtypes("float") if epochs[name].notna().any()]
    records = results.metric_records(recorded)
    quantities = dict.fromkeys(record.quantity for record in records.values() if record.split == "val")
    own = quantity_of(results.choose_by)
    chosen = [own, *(name for name in quantities if name != own)][:MOST_QUANTITIES]
    order = [name for name in quantities if name in chosen] or [own]
    names = [f"{split}_{quantity}" for quantity in order for split in ("train", "val")]
    plain = [name for name in (results.choose_by, results.metric) if records.get(name) and not records[name].split]
    return {name: records[name] for name in dict.fromkeys([*names, *plain]) if name in records}


def curve_data(epochs: pd.DataFrame, metrics: Iterable[str], confidence: float = 0.95) -> pd.DataFrame:
    """Return the points of learning curves, one row each: metric, arm, kind, trial, epoch, value, low, high, n.

    ``kind`` is "mean" (over the arm's completed trials, with the t interval of the mean; none for n = 1) or the status
    of a trial that was not completed, which has a curve of its own. A mean over all trials would jump where one stops.
    """
    parts = [_means(epochs, metric, confidence) for metric in metrics]
    parts += [_stopped(epochs, metric) for metric in metrics]
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True)[_COLUMNS] if parts else pd.DataFrame(columns=_COLUMNS)


def _means(epochs: pd.DataFrame, metric: str, confidence: float) -> pd.DataFrame:
    done = epochs[epochs["status"] == "completed"].dropna(subset=[metric])
    table = done.groupby(["arm", "epoch"], sort=False)[metric].agg(["mean", "std", "count"]).reset_index()
    t = t_isf((1 - confidence) / 2, np.maximum(table["count"] - 1, 1))
    half = (t * table["std"] / np.sqrt(table["count"])).where(table["count"] > 1)
    table["low"], table["high"] = table["mean"] - half, table["mean"] + half
    table = table.rename(columns={"mean": "value", "count": "n"}).sort_values(["arm", "epoch"])
    return table.assign(metric=metric, kind="mean", trial="")


def _stopped(epochs: pd.DataFrame, metric: str) -> pd.DataFrame:
    cut = epochs[epochs["status"] != "completed"].dropna(subset=[metric])
    table = cut.rename(columns={metric: "value", "status": "kind", "digest": "trial"})
    table = table[["arm", "kind", "trial", "epoch", "value"]].sort_values(["trial", "epoch"])
    return table.assign(metric=metric, low=np.nan, high=np.nan, n=1)


@themed
def draw_overlay(
    curves: pd.DataFrame,
    styles: Styles,
    records: Records,
    *,
    width: float = PAGE,
    stopped: bool = True,
    theme: Theme = LIGHT,
) -> Picture:
    """Draw every arm into the same axes, one panel for each metric of ``curve_data``."""
    metrics = list(dict.fromkeys(curves["metric"]))
    columns = 2 if len(metrics) > 1 and width > PAGE / 2 else 1
    rows = -(-len(metrics) // columns)
    legend_rows = -(-len(styles) // (3 if columns == 2 else 1))
    figure = new_figure(width, rows * width / columns * 0.62 + 0.16 * legend_rows + 0.1)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, metric in zip(axes, metrics, strict=False):
        panel = curves[curves["metric"] == metric]
        for arm, style in styles.items():
            points = panel[panel["arm"] == arm]
            _draw_arm(ax, points, records[metric], style.color(theme), style.dash, str(arm), styles, stopped)
        _label(ax, records[metric])
        ax.set_gid(f"panel-{metric}")
    for ax in axes[len(metrics) :]:
        ax.set_axis_off()
    handles = {line.get_label(): line for ax in axes for line in ax.get_lines() if line.get_gid() and line.get_label()}
    shown = [arm for arm in styles if arm in handles]
    legend = figure.legend(
        [handles[arm] for arm in shown],
        [shorten(arm, 40) for arm in shown],
        loc="outside lower center",
        ncols=3 if columns == 2 else 1,
    )
    for arm, line, text in zip(shown, legend.get_lines(), legend.get_texts(), strict=True):
        styles[arm].tag(line)
        styles[arm].tag(text)
    return Picture(
        figure,
        "Learning curves of all arms",
        curve_caption(curves, stopped),
        _alt(curves, [records[metric].label for metric in metrics]),
    )


def _draw_arm(
    ax: Axes,
    points: pd.DataFrame,
    metric: Metric,
    color: str,
    dash: object,
    arm: str,
    styles: Styles,
    stopped: bool,
) -> None:
    style, scale = styles[arm], metric.scale
    mean = points[points["kind"] == "mean"]
    if len(mean):
        dot = "o" if len(mean) == 1 else None  # a line of one point is not seen
        (line,) = ax.plot(mean["epoch"], mean["value"] * scale, color=color, linestyle=dash, label=arm, marker=dot)
        style.tag(line)
        band = mean.dropna(subset=["low"])
        if len(band):
            low, high = _within_bounds(band, metric)
            style.tag(ax.fill_between(band["epoch"], low, high, color=color, alpha=0.16, linewidth=0))
    if not stopped:
        return
    for _, run in points[points["kind"] != "mean"].groupby("trial", sort=False):
        (line,) = ax.plot(run["epoch"], run["value"] * scale, color=color, linestyle=dash, linewidth=0.6, alpha=0.7)
        style.tag(line)
        if len(mean) == 0:
            line.set_label(arm)
        end = ax.plot(run["epoch"].iloc[-1], run["value"].iloc[-1] * scale, "x", color=color, markersize=4)[0]
        style.tag(end).set_label("")


def _within_bounds(band: pd.DataFrame, metric: Metric) -> tuple[pd.Series[float], pd.Series[float]]:
    """Return a band's edges cut to the metric's bounds: with few seeds a t interval goes beyond 0 and 100 %."""
    least, greatest = metric.bounds
    low, high = band["low"].clip(lower=least), band["high"].clip(upper=greatest)
    return low * metric.scale, high * metric.scale


@themed
def draw_arms(
    curves: pd.DataFrame, styles: Styles, records: Records, *, width: float = PAGE, theme: Theme = LIGHT
) -> Picture:
    """Draw one column for each arm and one row for each quantity, training dashed and validation solid."""
    quantities = _panels(records)
    arms = [arm for arm in styles if (curves["arm"] == arm).any()]
    columns = min(len(arms), 4 if width > PAGE / 2 else 2)
    bands = -(-len(arms) // columns)
    figure = new_figure(width, bands * len(quantities) * (0.95 if columns > 2 else 1.3) + 0.3)
    axes = figure.subplots(bands * len(quantities), columns, sharex=True, sharey=False, squeeze=False)
    grid = axes.reshape(bands, len(quantities), columns).swapaxes(1, 2).reshape(-1, len(quantities))
    for ax in grid[len(arms) :].ravel():
        ax.remove()
    grid = grid[: len(arms)]
    for place, arm in enumerate(arms):
        mine = curves[curves["arm"] == arm]
        for ax, (name, metrics) in zip(grid[place], quantities.items(), strict=True):
            for metric in metrics:
                dash = "--" if metric.split == "train" else "-"
                points = mine[mine["metric"] == metric.name]
                _draw_arm(ax, points, metric, styles[arm].color(theme), dash, arm, styles, True)
            _label(ax, metrics[-1])
            ax.set_ylabel(name if place % columns == 0 else "")
            ax.set_xlabel("epoch" if ax is grid[place, -1] else "")
            ax.tick_params(labelbottom=ax is grid[place, -1])
        styles[arm].tag(grid[place, 0].set_title(shorten(arm, 20)))
    for alike in grid.T:
        _share_y(list(alike))
        for place, ax in enumerate(alike):
            left = alike[place - place % columns]
            is_as_left = ax is not left and (ax.get_yscale(), ax.get_ylim()) == (left.get_yscale(), left.get_ylim())
            ax.tick_params(labelleft=not is_as_left)
            ax.minorticks_off()
    caption = f"Training dashed, validation solid. {curve_caption(curves, True)}"
    return Picture(figure, "Training and validation, arm by arm", caption, _alt(curves, list(quantities)))


def _panels(records: Records) -> dict[str, list[Metric]]:
    """Return the metrics of each quantity by its axis label, without the split: "loss (nats)" -> train, val."""
    by_quantity: dict[str, list[Metric]] = {}
    for metric in records.values():
        by_quantity.setdefault(metric.quantity, []).append(metric)
    return {_without_split(metrics[-1]): metrics for metrics in by_quantity.values()}


def _without_split(metric: Metric) -> str:
    return metric.axis.removeprefix(f"{SPLIT_LABELS[metric.split]} ") if metric.split else metric.axis


def _share_y(alike: list[Axes]) -> None:
    """Give all these axes one scale and one range.

    Where it is logarithmic, axes without a positive value keep their own.
    """
    drawn = [ax for ax in alike if ax.lines]
    if any(ax.get_yscale() == "log" for ax in drawn):
        drawn = [ax for ax in drawn if (_line_values(ax) > 0).any()]
        for ax in drawn:
            _set_log(ax)
    limits = [ax.get_ylim() for ax in drawn]
    for ax in drawn:
        ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _set_log(ax: Axes) -> None:
    """Make the y axis logarithmic, from a little below the lowest line: a band may reach down to 0."""
    values = _line_values(ax)
    ax.set_yscale("log")
    ax.set_ylim(bottom=values[values > 0].min() / 1.5)


def _line_values(ax: Axes) -> np.ndarray:
    values: np.ndarray = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines] or [np.ones(1)])
    finite: np.ndarray = values[np.isfinite(values)]
    return finite


def _label(ax: Axes, metric: Metric) -> None:
    ax.set_ylabel(metric.axis)
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    least, greatest = metric.bounds
    if metric.higher_is_better is False and least == 0 and greatest is None:
        values = _line_values(ax)
        if len(values) and values.min() > 0 and values.max() / values.min() > 30:
            _set_log(ax)


def curve_caption(curves: pd.DataFrame, stopped: bool) -> str:
    """Return what the lines, bands and crosses are, with the numbers of trials."""
    sizes = curves[curves["kind"] == "mean"].groupby(["metric", "arm"], observed=True)["n"].max()
    if len(sizes):
        words = f"Lines: mean over the completed trials of an arm (n = {span(sizes)}); "
        words += "bands: 95 % t interval of that mean."
    else:
        words = "No trial was completed."
    cut = curves[curves["kind"] != "mean"].drop_duplicates("trial")
    if stopped and len(cut):
        counts = ", ".join(f"{count} {kind}" for kind, count in cut["kind"].value_counts().items())
        words += f" Thin lines: trials that were not completed ({counts}), each ending at a cross where it stopped."
    return words


def _alt(curves: pd.DataFrame, metrics: Sequence[str]) -> str:
    arms = curves["arm"].nunique()
    last = int(curves["epoch"].max()) if len(curves) else 0
    return f"Line charts of {', '.join(metrics)} against epochs 1 to {last} for {arms} arms."
