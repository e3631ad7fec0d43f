"""All studies against their sources: every claim with its verdict, every published figure with ours, as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.stats.claims import OUTCOMES, claims, how_tested, reported
from analysis.stats.simultaneous import false_discovery_q
from analysis.store._rows import rows_of
from analysis.store.load import StudyResults
from search_spaces.files import write_file
from search_spaces.metrics import Metric

CLAIM_COLUMNS = (
    *("study", "source", "table", "text", "arm", "against", "expect", "metric", "n", "difference", "low", "high"),
    *("p_holm", "equivalent_holm", "beyond_holm", "p_claim", "q", "verdict", "words"),
)
FIGURE_COLUMNS = ("study", "source", "table", "arm", "metric", "theirs", "ours", "low", "high", "n", "note")


def all_claims(studies: Sequence[StudyResults]) -> pd.DataFrame:
    """Return the rows of `analysis.stats.claims.claims` of every study, with study, source and table before them.

    ``q`` is the false discovery rate of ``p_claim`` over all these claims (Benjamini and Hochberg).
    """
    table = _stacked(studies, claims, tuple(name for name in CLAIM_COLUMNS if name != "q"))
    return table.assign(q=false_discovery_q(table["p_claim"].to_numpy(float)))[list(CLAIM_COLUMNS)]


def all_figures(studies: Sequence[StudyResults]) -> pd.DataFrame:
    """Return the rows of `analysis.stats.claims.reported` of every study, with study, source and table before them."""
    return _stacked(studies, reported, FIGURE_COLUMNS)


def _stacked(
    studies: Sequence[StudyResults], rows: Callable[[StudyResults], pd.DataFrame], columns: tuple[str, ...]
) -> pd.DataFrame:
    parts = []
    for results in studies:
        source, table = source_of(results)
        parts.append(rows(results).assign(study=results.name, source=source, table=table))
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True)[list(columns)] if filled else pd.DataFrame(columns=list(columns))


def source_of(results: StudyResults) -> tuple[str, str]:
    """Return the letter of a study's source and the table in it; empty where it has none."""
    reference = results.spec.reference if results.spec is not None else None
    return ("", "") if reference is None else (reference.source, reference.table)


def write_summaries(studies: Sequence[StudyResults], out: Path) -> list[Path]:
    """Write claims.parquet and figures.parquet into a folder and return their paths; figures in the store's units."""
    tables = {"claims": all_claims(studies), "figures": all_figures(studies)}
    return [write_file(out / f"{name}.parquet", table.to_parquet(index=False)) for name, table in tables.items()]


def summary(table: pd.DataFrame) -> str:
    """Return how many claims have each outcome, in a sentence."""
    if not len(table):
        return "None of these studies tests a claim."
    found = {outcome: int((table["verdict"] == outcome).sum()) for outcome in OUTCOMES}
    counts = [f"{count} {outcome}" for outcome, count in found.items() if count]
    return f"{len(table)} {'claim' if len(table) == 1 else 'claims'} tested: {', '.join(counts)}."


def printed_claims(table: pd.DataFrame, studies: Sequence[StudyResults]) -> pd.DataFrame:
    """Return the claims as they are printed."""
    by_name = {results.name: results for results in studies}
    rows = [
        {
            "Verdict": row.verdict,
            "Claim": row.text,
            "Tested as": how_tested(row, by_name[row.study].metric_record(row.metric).label),
            "Here": row.words,
            "q": "–" if not np.isfinite(row.q) else "< 0.001" if row.q < 0.001 else f"{row.q:.3f}",
            "Study": row.study,
            "Source": f"{row.source} {row.table}".strip(),
        }
        for row in rows_of(table)
    ]
    return pd.DataFrame(rows, columns=["Verdict", "Claim", "Tested as", "Here", "q", "Study", "Source"])


def printed_figures(table: pd.DataFrame, studies: Sequence[StudyResults]) -> pd.DataFrame:
    """Return the figures as they are printed, in the shown unit of each metric; notes where there are any."""
    by_name = {results.name: results for results in studies}
    rows = [_printed_figure(row, by_name[row.study].metric_record(row.metric)) for row in rows_of(table)]
    notes = ["Note"] if table["note"].astype(bool).any() else []
    return pd.DataFrame(rows, columns=["Study", "Arm", "Quantity", "Theirs", "Ours", "95 % interval", "n", *notes])


def _printed_figure(row: Any, metric: Metric) -> dict[str, Any]:
    return {
        "Study": row.study,
        "Arm": row.arm,
        "Quantity": metric.axis,
        "Theirs": _number(metric, row.theirs),
        "Ours": _number(metric, row.ours),
        "95 % interval": _interval(metric, row.low, row.high),
        "n": int(row.n),
        "Note": row.note,
    }


def _number(metric: Metric, value: float) -> str:
    return metric.shows(value).replace("-", "−") if np.isfinite(value) else "–"


def _interval(metric: Metric, low: float, high: float) -> str:
    return f"{_number(metric, low)} to {_number(metric, high)}" if np.isfinite(low) else "–"
