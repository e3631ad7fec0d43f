"""The facts of a report apart from verdicts: which trials ran, which did not finish, where, and at what cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.plots._words import sentence_case
from analysis.stats.cost import cost_by_arm, limits, saved_by_pruning
from analysis.store._rows import rows_of
from analysis.store.load import FACTOR, StudyResults
from search_spaces.errors import headline
from search_spaces.metrics import Metric

MOST_ROWS = 1000
"""Rows of the trial table that are put on the page."""


def trial_table(results: StudyResults) -> dict[str, Any]:
    """Return heads and rows (cells of text and sort key) of the trial table, the best rows where there are too many."""
    chosen = results.metric_record(results.choose_by)
    trials = results.trained
    if len(trials) > MOST_ROWS:
        trials = by_rank(trials, chosen).head(MOST_ROWS)
    records = results.metric_records(dict.fromkeys([results.choose_by, results.metric]))
    shown = {name: record for name, record in records.items() if name in trials.columns}
    searched = [name for name in results.factors if results.is_search]
    columns = {name: trials[FACTOR + name].tolist() for name in searched} | _tuned_columns(results, trials)
    heads = ["Arm", "Seed", "Status", *columns, "Epochs", "Best epoch"]
    heads += [sentence_case(record.axis) for record in shown.values()] + ["Time (s)", "Node", "Digest"]
    rows = []
    figures = {name: trials[name].tolist() for name in shown}
    for place, row in enumerate(rows_of(trials[["arm", "seed", "status", *_PLAIN]])):
        cells = [_text(row.arm), _number(row.seed, 0), _text(row.status)]
        cells += [_text(values[place]) for values in columns.values()]
        cells.append({"text": f"{row.epochs_trained}/{row.epochs_planned}", "sort": row.epochs_trained, "number": True})
        cells.append(_number(row.best_epoch, 0))
        cells += [_number(figures[name][place] * record.scale, record.digits) for name, record in shown.items()]
        cells += [_number(row.seconds, 1), _text(row.node), _text(row.digest)]
        rows.append({"cells": cells, "status": row.status})
    return {"heads": heads, "rows": rows, "total": len(results.trained), "metric": chosen.label}


def _tuned_columns(results: StudyResults, trials: pd.DataFrame) -> dict[str, list[Any]]:
    """Return what each trial of a tuned ablation was for, and its values of the tuned fields; nothing for others."""
    if results.spec is None or results.spec.tune is None:
        return {}
    finals = set(results.trials["digest"])
    purpose = [
        f"final, of trial {trial}" if digest in finals else f"trial {trial}"
        for digest, trial in zip(trials["digest"], trials["trial"], strict=True)
    ]
    fields = [path for path in results.spec.tune.all_fields() if path in trials.columns]
    return {"Purpose": purpose} | {path: trials[path].tolist() for path in fields}


def by_rank(trials: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Return trials by a metric, the best first, the earliest of equals first, those without a value last.

    In the order that they have where the metric has no direction.
    """
    if metric.higher_is_better is None or metric.name not in trials.columns:
        return trials
    return trials.sort_values(metric.name, ascending=not metric.higher_is_better, na_position="last", kind="stable")


_PLAIN = ["epochs_trained", "epochs_planned", "best_epoch", "seconds", "node", "digest"]


def _text(value: object) -> dict[str, Any]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value, None)
    known = value is not None
    return {"text": str(value) if known else "–", "sort": str(value) if known else "", "number": False}


def _number(value: Any, digits: int | None) -> dict[str, Any]:
    """Return a cell that sorts by value; four significant digits where ``digits`` is None."""
    if pd.isna(value):
        return {"text": "–", "sort": "", "number": True}
    return {"text": f"{value:.4g}" if digits is None else f"{value:.{digits}f}", "sort": float(value), "number": True}


def unfinished(results: StudyResults) -> list[dict[str, Any]]:
    """Return every trial that was not completed: arm, seed, status, epochs, digest and why."""
    cut = results.trained[results.trained["status"] != "completed"]
    return [
        {
            "arm": row.arm,
            "seed": row.seed,
            "status": row.status,
            "epochs": f"{row.epochs_trained} of {row.epochs_planned}",
            "digest": row.digest,
            "why": _why(row),
        }
        for row in rows_of(cut[["arm", "seed", "status", "epochs_trained", "epochs_planned", "digest", "error"]])
    ]


def other_cells(results: StudyResults) -> list[dict[str, Any]]:
    """Return the stored cells that the current study does not have: arm (of their time), seed, status, value, why.

    ``sort``: the value as a number, "" where there is none.
    """
    metric = results.metric_record()
    other = results.other.reindex(columns=["arm", "seed", "status", "digest", "why", metric.name])
    return [
        {
            "arm": arm,
            "seed": seed,
            "status": status,
            "digest": digest,
            "why": why,
            "value": metric.show(value) if pd.notna(value) else "–",
            "sort": value if pd.notna(value) else "",
        }
        for arm, seed, status, digest, why, value in other.itertuples(index=False, name=None)
    ]


def _why(row: Any) -> str:
    if isinstance(row.error, str) and (said := headline(row.error)):
        return said
    known = {
        "pruned": f"stopped by the scheduler after epoch {row.epochs_trained}",
        "diverged": f"a loss was not finite after epoch {row.epochs_trained}",
    }
    return known.get(row.status, "no message was kept")


def status_counts(results: StudyResults) -> dict[str, int]:
    """Return how many trials have each status, the most frequent first."""
    return {str(status): int(count) for status, count in results.trained["status"].value_counts().items()}


def cost(results: StudyResults) -> dict[str, str]:
    """Return what the study took, in words ready to print: trial-hours, GPU-hours, wall clock, retries."""
    trials = results.trained
    hours = trials["seconds"].fillna(0) / 3600
    facts = {
        "Training time, all trials": _hours(float(hours.sum())),
        "GPU time (training time × share given)": _hours(float((hours * trials["gpus"].fillna(0)).sum())),
        "CPU time (training time × CPUs given)": _hours(float((hours * trials["cpus"].fillna(0)).sum())),
    }
    begun, ended = trials["started_at"].min(), trials["finished_at"].max()
    if pd.notna(begun) and pd.notna(ended):
        facts["First start to last end"] = _hours((ended - begun).total_seconds() / 3600)
    facts |= {
        f"Budget, {one.name}": f"{one.spent:.4g} of {one.limit:g} spent, {one.left:.4g} left" for one in limits(results)
    }
    saved = saved_by_pruning(results)
    if saved.cpu_hours or saved.gpu_hours:
        budget = results.spec.budget if results.spec is not None else None
        money = budget.cost(saved) if budget is not None else None
        priced = f", {money:,.2f} at the study's price" if money is not None else ""
        facts["Saved by pruning (remaining epochs at the trial's own speed)"] = (
            f"GPU time {_hours(saved.gpu_hours)}, CPU time {_hours(saved.cpu_hours)}{priced}"
        )
    retried = int((trials["attempts"].fillna(1) > 1).sum())
    return facts | {"Trials that needed more than one attempt": str(retried)}


def arm_costs(results: StudyResults) -> dict[str, Any]:
    """Return heads and rows of the table of what each arm cost; no rows for a search, whose arms are its trials."""
    table = cost_by_arm(results) if len(results.trials) and not results.is_search else pd.DataFrame()
    has_money = len(table) > 0 and table["money"].notna().any()
    heads = ["Arm", "Trials", "GPU time", "CPU time", *(["Cost"] if has_money else [])]
    rows = [
        [
            row.arm,
            row.trials,
            _hours(row.gpu_hours),
            _hours(row.cpu_hours),
            *([f"{row.money:,.2f}"] if has_money else []),
        ]
        for row in rows_of(table)
    ]
    return {"heads": heads, "rows": rows}


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.2f} h"
    return f"{hours * 60:.1f} min" if hours * 3600 >= 60 else f"{hours * 3600:.1f} s"


def environment_rows(results: StudyResults) -> list[tuple[str, str]]:
    """Return the environment as flat (name, value) pairs, with the hardware that the trials themselves saw."""
    rows = list(flat(results.environment))
    for column, name in (("device_name", "devices seen"), ("node", "nodes seen"), ("precision", "precisions used")):
        seen = results.trained[column].dropna().astype(str).value_counts()
        if len(seen):
            listed = ", ".join(f"{value} ({count} trials)" for value, count in seen.head(8).items())
            rows.append((name, listed + (f" and {len(seen) - 8} more" if len(seen) > 8 else "")))
    return rows


def flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return the leaves of nested mappings as (dotted name, text)."""
    rows: list[tuple[str, str]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str)))
    return rows


def command(results: StudyResults) -> str:
    """Return the shell lines that train this study again, from the commit that was used."""
    commit = results.environment.get("commit")
    lines = [f"git checkout {commit}"] if isinstance(commit, str) and commit.isalnum() else []
    return "\n".join([*lines, "tune-app run study.yaml   # the study below, saved under this name"])
