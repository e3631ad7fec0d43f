"""Tuned ablations: the comparison of tuned arms beside that of the same arms at their own values.

The first trial of each arm and repeat has the arm's own values, with the same seed in all arms: those trials are the
untuned comparison, at no further cost. Where a difference shrinks when all arms are tuned with the same effort, it was
(in part) a difference in tuning (Choi et al. 2019; Sivaprasad et al. 2020; Dahl et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.stats.effects import effects
from analysis.stats.limits import resolution
from analysis.stats.paired import ALPHA, Floats, compare_differences
from analysis.stats.pairs import metric_table
from analysis.store._rows import rows_of
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError
from search_spaces.metrics import Metric, require_direction
from search_spaces.plan import make_plan
from search_spaces.tune import Tune
from search_spaces.tuned_plan import containing_arms


def tune_of(results: StudyResults) -> Tune:
    """Return the study's `tune` section; StudyError where it has none."""
    if results.spec is None or results.spec.tune is None:
        raise StudyError(f"study {results.name!r} has no `tune` section: it is not a tuned ablation")
    return results.spec.tune


def untuned(results: StudyResults) -> StudyResults:
    """Return the results of the arms at their own values: the first trial of each arm and repeat."""
    tune_of(results)
    trials = results.tuning
    if len(trials):
        trials = trials[trials["trial"] == 0]
    return replace(results, trials=trials.reset_index(drop=True))


def tuned_comparison(
    results: StudyResults, metric: str | None = None, table: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return one row for each arm against the reference arm: untuned, tuned, and how much tuning changed.

    Columns: arm, reference, then n, difference, low, high, low90, high90, verdict with the prefixes ``untuned_`` and
    ``tuned_``, then change (tuned minus untuned difference, paired by repeat), change_low, change_high (95 % t
    interval), change_p_holm, words. NaN where the arm has no result of that kind. ``table``: `effects` of the tuned
    arms, where the caller has it.
    """
    record = results.metric_record(metric)
    plain = untuned(results)
    tuned_table = effects(results, metric) if table is None else table
    reference = results.reference_arm  # while the baseline has no final cell yet, not that of the untuned arms
    is_there = reference in plain.arms
    untuned_table = effects(plain, metric, reference) if is_there else tuned_table.head(0)
    columns = ["n", "difference", "low", "high", "low90", "high90", "verdict"]
    joined = tuned_table[["arm", "reference", *columns]].merge(
        untuned_table[["arm", *columns]], on="arm", how="left", suffixes=("", "_untuned")
    )
    found = joined[["arm", "reference"]].copy()
    for name in columns:
        found[f"untuned_{name}"], found[f"tuned_{name}"] = joined[f"{name}_untuned"], joined[name]
    found["untuned_n"] = found["untuned_n"].fillna(0).astype("int64")
    found["untuned_verdict"] = found["untuned_verdict"].fillna("undecided")
    return _with_changes(found, results, plain, record)


def _with_changes(found: pd.DataFrame, results: StudyResults, plain: StudyResults, metric: Metric) -> pd.DataFrame:
    after, before = _by_repeat(results, metric.name), _by_repeat(plain, metric.name)
    before = before.reindex(index=after.index, columns=after.columns)
    gained = after - before
    changes = [(gained.loc[row.arm] - gained.loc[row.reference]).to_numpy(float) for row in rows_of(found)]
    tested = compare_differences(np.array(changes, float).reshape(len(found), gained.shape[1]))
    found["change"], found["change_low"], found["change_high"] = tested.difference, tested.low, tested.high
    found["change_p_holm"] = tested.p_holm
    higher = require_direction(metric)
    rows = found[list(Change.__dataclass_fields__)].to_dict("records")
    found["words"] = [_words(Change(**{str(name): row[name] for name in row}), metric, higher) for row in rows]
    return found


def _by_repeat(results: StudyResults, metric: str) -> pd.DataFrame:
    """Return the metric by arm and repeat."""
    if not len(results.trials):
        return pd.DataFrame()
    return metric_table(replace(results, trials=results.trials.assign(seed=results.trials["repeat"])), metric)


@dataclass(frozen=True)
class Change:
    """What the sentence about an arm rests on."""

    untuned_difference: float
    untuned_verdict: str
    tuned_difference: float
    tuned_verdict: str
    change: float
    change_low: float
    change_high: float
    change_p_holm: float


def _words(c: Change, metric: Metric, higher_is_better: bool) -> str:
    def signed(value: float) -> str:
        return f"{value * metric.scale:+.{metric.digits}f}".replace("-", "−")

    unit = f" {metric.difference}" if metric.difference else ""
    before, after = (f"{signed(value)}{unit}" for value in (c.untuned_difference, c.tuned_difference))
    if not np.isfinite(c.tuned_difference):
        known = f"{before} untuned; " if np.isfinite(c.untuned_difference) else ""
        return f"{known}the tuned difference is not known: in no repeat did the final training of both arms complete"
    if not np.isfinite(c.untuned_difference):
        return f"{after} tuned; the untuned difference is not known"
    found = f"{before} untuned became {signed(c.tuned_difference)} tuned"
    if c.change_p_holm < ALPHA:
        return f"{found}: {_kind(c, higher_is_better)}"
    if not np.isfinite(c.change_low):
        return f"{found}; how much of the change is chance cannot be said from so few repeats"
    return f"{found}; the change may be chance (95 % interval {signed(c.change_low)} to {signed(c.change_high)})"


def _kind(c: Change, higher_is_better: bool) -> str:
    """Return what a change that is shown says about the arm."""
    is_half = abs(c.tuned_difference) <= abs(c.untuned_difference) / 2
    if c.untuned_difference * c.tuned_difference < 0:
        shown = [verdict in ("better", "worse") for verdict in (c.untuned_verdict, c.tuned_verdict)]
        if all(shown):
            return "tuning reverses the order"
        if shown[1] or not is_half:
            return f"the sign changed; the verdict on the tuned arms is “{c.tuned_verdict}”"
    if is_half:
        return "most of it was tuning"
    if abs(c.tuned_difference) < abs(c.untuned_difference):
        return "part of it was tuning"
    gained = (c.change > 0) == higher_is_better
    return f"this arm {'gains more' if gained else 'gains less'} from tuning than the reference arm"


def chosen_values(results: StudyResults) -> pd.DataFrame:
    """Return a row for each final cell: arm, repeat, trial, the arm's tuned fields by path, validation, final.

    ``validation`` is what the chosen trial reached in the metric that chooses, ``final`` the study's metric of the
    final cell. A field that an arm does not tune is None.
    """
    tune, rows = tune_of(results), []
    key = ["arm", "repeat", "trial"]
    reached = results.tuning.set_index(key)[results.choose_by].to_dict() if len(results.tuning) else {}
    for row in results.trials.to_dict("records"):
        place = {name: row[name] for name in key}
        values = {path: row.get(path) if path in tune.domains(row["arm"]) else None for path in tune.all_fields()}
        validation = reached.get(tuple(place.values()), np.nan)
        final = row[results.metric] if row["status"] == "completed" else np.nan
        rows.append(place | values | {"validation": validation, "final": final, "status": row["status"]})
    return pd.DataFrame(rows, columns=[*key, *tune.all_fields(), "validation", "final", "status"])


def spent(results: StudyResults) -> pd.DataFrame:
    """Return what the search of each arm took: arm, trials, lost (failed or diverged), epochs, hours."""
    tuning = results.tuning
    table = tuning.assign(lost=tuning["status"] != "completed", hours=tuning["seconds"].fillna(0) / 3600).groupby(
        "arm", sort=False
    )
    found = table.agg(
        trials=("digest", "size"), lost=("lost", "sum"), epochs=("epochs_trained", "sum"), hours=("hours", "sum")
    )
    return found.reset_index()


def edge_counts(results: StudyResults) -> pd.DataFrame:
    """Return how often the best value of a tuned number lies at an edge: arm, field, low, high, repeats.

    At an edge: no trial of the arm and repeat tried a smaller (larger) value, so the optimum may lie beyond.
    """
    tune, chosen, rows = tune_of(results), chosen_values(results), []
    for arm in dict.fromkeys(chosen["arm"]):
        own, tried = chosen[chosen["arm"] == arm], results.tuning[results.tuning["arm"] == arm]
        for path, domain in tune.domains(arm).items():
            if domain.kind == "choice":
                continue
            values = tried.groupby("repeat")[path].agg(["min", "max"]).astype(float)
            ends = values.loc[own["repeat"]].to_numpy()
            best: Floats = own[path].to_numpy(float)
            low, high = int((best <= ends[:, 0]).sum()), int((best >= ends[:, 1]).sum())
            rows.append({"arm": arm, "field": path, "low": low, "high": high, "repeats": len(own)})
    return pd.DataFrame(rows, columns=["arm", "field", "low", "high", "repeats"])


def tuning_warnings(results: StudyResults) -> list[str]:
    """Return why tuned arms may not be at their best.

    An optimum at an edge of the range in more than half of the repeats, and an arm whose search contains another's
    (Choi et al. 2019) and yet is shown to do worse.
    """
    found = []
    for row in edge_counts(results).to_dict("records"):
        for side, what in (("low", "smallest"), ("high", "largest")):
            if row["repeats"] > 1 and row[side] > row["repeats"] / 2:
                found.append(
                    f"{row['arm']}: the best {row['field']} was the {what} that was tried in {row[side]} of "
                    f"{row['repeats']} repeats, so a better one may lie beyond; extend the range."
                )
    return found + _contained(results)


def _size(value: float, metric: Metric) -> str:
    return f"{value * metric.scale:.{metric.digits}f} {metric.difference}".rstrip()


def _contained(results: StudyResults) -> list[str]:
    """Return a warning for each arm that is shown to do worse than one that its search contains.

    By the paired t test over repeats at 5 %; Holm's family is all such pairs. The warning is weaker where the test is
    below 5 % for the pair alone.
    """
    assert results.spec is not None
    metric, values = results.metric_record(), _by_repeat(results, results.metric)
    planned = containing_arms(tune_of(results), make_plan(results.spec).arms)
    pairs = [pair for pair in planned if set(pair) <= set(values.index)]
    sign = 1.0 if require_direction(metric) else -1.0
    leads = np.array([sign * (values.loc[other] - values.loc[arm]) for arm, other in pairs], float)
    tested = compare_differences(
        leads.reshape(len(pairs), values.shape[1]), resolution=resolution(results, metric.name)
    )
    found = []
    for place in np.flatnonzero((tested.difference > 0) & (tested.p_t < ALPHA)):
        arm, other = pairs[place]
        p, lead = tested.p_holm[place], _size(tested.difference[place], metric)
        found.append(
            f"{arm} can be set to the same values as {other} and yet does worse by {lead} (paired over "
            f"{tested.n[place]} repeats, p = {p:.2g} by Holm's method): the budget {'is' if p < ALPHA else 'may be'} "
            "too small to tune its further fields."
        )
    return found
