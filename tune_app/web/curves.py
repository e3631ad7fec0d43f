"""Learning curves for display: means over an arm's completed trials with an interval, or single trials, thinned."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from analysis.stats.distributions import t_isf
from tune_app.web.answers import finite
from tune_app.web.index import StudyIndex
from tune_app.web.metrics import info, record
from tune_app.web.models import Curve, Curves
from tune_app.web.summaries import running
from tune_app.web.tables import EpochRows

Group = Literal["arm", "trial"]
Floats = NDArray[np.float64]


def curves(study: StudyIndex, metric: str, group: Group, arms: Sequence[str], limit: int, points: int) -> Curves:
    """Return a metric by epoch for each arm (the mean of completed trials) or each trial; running trials in both.

    Beside the means, a trial that did not complete has a curve of its own: a mean over it would jump where it stopped.
    ``arms`` chooses arms; all if empty. At most ``limit`` curves are returned, means first, and at most ``points``
    points of each; means and intervals are over all completed trials at each epoch that is shown.
    """
    key = json.dumps(["curves", metric, group, sorted(arms), limit, points])
    ended, total, left_out = study.remember(key, lambda: _ended(study, metric, group, set(arms), limit, points))
    live = _live(study, metric, set(arms))
    means = [curve for curve in ended if curve.seed is None]
    found = [*means, *live, *(curve for curve in ended if curve.seed is not None)][:limit]
    if group == "arm":
        order = {arm.name: place for place, arm in enumerate(study.plan.arms)} if study.plan else {}
        found.sort(key=lambda curve: (order.get(curve.arm, len(order)), curve.seed is not None))
    return Curves(
        metric=info(record(metric, study.spec)),
        group=group,
        curves=found,
        total=total + len(live),
        points_left_out=left_out,
    )


def _ended(
    study: StudyIndex, metric: str, group: Group, arms: set[str], limit: int, points: int
) -> tuple[list[Curve], int, bool]:
    """Return curves of finished trials, how many there are in all, and whether points are left out."""
    epochs = study.epochs()
    rows = [
        (row["arm"], row["seed"], row["status"], epochs[key])
        for key, row in study.trials.items()
        if key in epochs and row["planned"] and (not arms or row["arm"] in arms) and metric in epochs[key].names
    ]
    order = {arm.name: place for place, arm in enumerate(study.plan.arms)} if study.plan else {}
    rows.sort(key=lambda row: (order.get(row[0], len(order)), row[1]))
    left_out = any(len(rows.epochs) > points for *_, rows in rows)
    if group == "trial":
        return _single(rows[:limit], metric, points), len(rows), left_out
    completed = [row for row in rows if row[2] == "completed"]
    others = [row for row in rows if row[2] != "completed"]
    shown = list(dict.fromkeys(arm for arm, *_ in completed))
    first = set(shown[:limit])
    means = _means([row for row in completed if row[0] in first], metric, points)
    return means + _single(others[:limit], metric, points), len(shown) + len(others), left_out


def trial_curve(study: StudyIndex, key: str, metric: str, points: int) -> Curves:
    """Return one trial's curve."""
    row, epochs = study.trials[key], study.epochs().get(key)
    rows = [(row["arm"], row["seed"], row["status"], epochs)] if epochs is not None else []
    found = _single(rows, metric, points)
    left_out = any(len(rows.epochs) > points for *_, rows in rows)
    described = info(record(metric, study.spec))
    return Curves(metric=described, group="trial", curves=found, total=len(found), points_left_out=left_out)


Labelled = tuple[str, int, Any, EpochRows]


def _single(rows: Sequence[Labelled], metric: str, points: int) -> list[Curve]:
    found = []
    for arm, seed, status, epochs in rows:
        if metric in epochs.names:
            kept = spread(len(epochs.epochs), points)
            values = [finite(value) for value in epochs.metric(metric)[kept]]
            name = f"{arm}, seed {seed}"
            shown = epochs.epochs[kept].tolist()
            found.append(Curve(name=name, arm=arm, seed=seed, state=status, n=1, epochs=shown, values=values))
    return found


def _live(study: StudyIndex, metric: str, arms: set[str]) -> list[Curve]:
    found = []
    for trial in running(study):
        points = trial["points"].get(metric, [])
        if points and (not arms or trial["arm"] in arms):
            epochs, values = [int(epoch) for epoch, _ in points], [finite(value) for _, value in points]
            name = f"{trial['arm']}, seed {trial['seed']}"
            fields = {"arm": trial["arm"], "seed": trial["seed"], "state": "running", "n": 1}
            found.append(Curve(name=name, epochs=epochs, values=values, **fields))
    return found


def _means(rows: Sequence[Labelled], metric: str, points: int) -> list[Curve]:
    by_arm: dict[str, list[EpochRows]] = defaultdict(list)
    for arm, _, _, epochs in rows:
        if metric in epochs.names:
            by_arm[arm].append(epochs)
    return [_mean(arm, trials, metric, points) for arm, trials in by_arm.items()]


def _mean(arm: str, trials: Sequence[EpochRows], metric: str, points: int) -> Curve:
    epochs = np.unique(np.concatenate([trial.epochs for trial in trials]))
    epochs = epochs[spread(len(epochs), points)]
    table = np.full((len(trials), len(epochs)), np.nan)
    for place, trial in enumerate(trials):
        at = np.searchsorted(trial.epochs, epochs)
        inside = at < len(trial.epochs)
        inside[inside] = trial.epochs[at[inside]] == epochs[inside]
        table[place, inside] = trial.metric(metric)[at[inside]]
    mean, low, high = mean_and_interval(table)
    return Curve(
        name=arm,
        arm=arm,
        seed=None,
        state=None,
        n=len(trials),
        epochs=epochs.tolist(),
        values=[finite(value) for value in mean],
        low=[finite(value) for value in low],
        high=[finite(value) for value in high],
    )


def mean_and_interval(table: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the mean of each column of (trials, epochs) and its 95 % t interval; NaN without enough values."""
    known = np.isfinite(table)
    n = known.sum(axis=0)
    filled = np.where(known, table, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, filled.sum(axis=0) / n, np.nan)
        squares = np.where(known, (table - mean) ** 2, 0.0).sum(axis=0)
        half = t_isf(0.025, np.maximum(n - 1, 1)) * np.sqrt(squares / (n - 1) / n)
    half = np.where(n > 1, half, np.nan)
    return mean, mean - half, mean + half


def spread(length: int, points: int) -> NDArray[np.int64]:
    """Return at most ``points`` indices of ``length``, evenly spread, the first and the last included."""
    if length <= points:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 1, points).round().astype(np.int64))
