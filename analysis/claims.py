"""What others say, put to the test: claims of a study's reference with verdicts, reported figures with ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.effects import compare_arms
from analysis.flatness import ROUGHNESS, roughness
from analysis.load import StudyResults
from analysis.plots.reported import reported_data

OUTCOMES = ("supported", "contradicted", "undecided")
RULE = (
    "A claim is supported where the comparison's own verdict is the one it expects, contradicted where it is another, "
    "and undecided where nothing could be shown. The comparisons are those of the effects, by paired t test and "
    "equivalence test; Holm's family is a study's claims about one metric."
)
_COMPARED = ("n", "difference", "low", "high", "p_holm", "equivalent_holm", "words")


def claims(results: StudyResults) -> pd.DataFrame:
    """Return one row for each claim of the study's reference, in its order.

    Columns: text, arm, against, expect, metric, n (pairs), difference (arm minus against), low, high (95 % t
    interval), p_holm, equivalent_holm, verdict (supported, contradicted or undecided), words. A claim of "better" is
    contradicted by "equivalent" too: no difference that would matter is there. A claim whose arms have no trials, or
    whose metric was not measured, is undecided with n = 0.
    """
    table = pd.DataFrame(_reference(results, "claims"), columns=["text", "arm", "against", "expect", "metric"])
    table["metric"] = table["metric"].fillna("").replace("", results.metric)
    table = table.assign(n=0, **dict.fromkeys(_COMPARED[1:-1], np.nan), verdict="undecided", words="")
    for metric, group in table.groupby("metric", sort=False):
        measured = _measured(results, str(metric))
        tested = group[group["arm"].isin(measured) & group["against"].isin(measured)]
        untested = group.index.difference(tested.index)
        table.loc[untested, "words"] = [_absent(row, measured) for row in group.loc[untested].to_dict("records")]
        if len(tested):
            compared = _compared(results, tested, str(metric)).set_index(tested.index)
            table.loc[tested.index, list(_COMPARED)] = compared[list(_COMPARED)]
            table.loc[tested.index, "verdict"] = [
                _outcome(expect, verdict) for expect, verdict in zip(tested["expect"], compared["verdict"], strict=True)
            ]
    return table


def reported(results: StudyResults) -> pd.DataFrame:
    """Return one row for each reported figure, in the reference's order.

    Columns: arm, metric, theirs, ours (mean over completed trials), low, high (95 % t interval), n, note. Ours is NaN
    with n = 0 where the arm has no completed trial.
    """
    table = reported_data(results.trials, _reference(results, "figures"))
    table = table.rename(columns={"reported": "theirs", "mean": "ours"})
    return table[["arm", "metric", "theirs", "ours", "low", "high", "n", "note"]]


def _reference(results: StudyResults, part: str) -> list[Mapping[str, Any]]:
    reference = results.spec.get("reference")
    return list(reference.get(part) or ()) if isinstance(reference, Mapping) else []


def _measured(results: StudyResults, metric: str) -> list[str]:
    """Return the arms that a claim about the metric can be tested on."""
    if metric != ROUGHNESS:
        return list(results.arms)
    return list(dict.fromkeys(results.trials.loc[roughness(results).notna(), "arm"]))


def _absent(claim: Mapping[str, Any], measured: list[str]) -> str:
    missing = [arm for arm in (claim["arm"], claim["against"]) if arm not in measured]
    what = "loss landscape" if claim["metric"] == ROUGHNESS else "trial"
    return f"cannot tell: there is no {what} of {' and '.join(missing)}"


def _compared(results: StudyResults, tested: pd.DataFrame, metric: str) -> pd.DataFrame:
    pairs = list(zip(tested["arm"], tested["against"], strict=True))
    if metric != ROUGHNESS:
        return compare_arms(results, pairs, metric)
    with_it = dataclasses.replace(results, trials=results.trials.assign(**{ROUGHNESS: roughness(results)}))
    return compare_arms(with_it, pairs, metric, rope=0.0)


def _outcome(expected: str, verdict: str) -> str:
    if verdict == "undecided":
        return "undecided"
    return "supported" if verdict == expected else "contradicted"
