"""Tables for a paper or a page: the effects and the arms' means as Markdown, CSV and LaTeX (booktabs)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.plots._words import sentence_case
from analysis.report.words import effect_rows
from analysis.stats.means import mean_data, seed_data
from analysis.store._rows import rows_of
from search_spaces.errors import StudyError
from search_spaces.files import write_file
from search_spaces.metrics import Metric


def effects_table(effects: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Return the table of `analysis.stats.effects.effects` as it is printed: text, differences in points."""
    difference = f"Difference ({metric.difference})" if metric.difference else "Difference"
    heads = {
        "arm": "Arm",
        "mean": sentence_case(metric.label),
        "difference": difference,
        "interval": "95 % interval",
        "n": "n",
        "p": "p (Holm)",
        "verdict": "Verdict",
    }
    rows = [{head: row[name] for name, head in heads.items()} for row in effect_rows(effects, metric)]
    return pd.DataFrame(rows, columns=list(heads.values()))


def means_table(trials: pd.DataFrame, metrics: Iterable[Metric]) -> pd.DataFrame:
    """Return each arm's mean of each metric, "mean ± half of the 95 % t interval", and n of completed trials."""
    table = pd.DataFrame({"Arm": list(dict.fromkeys(trials["arm"]))})
    for metric in metrics:
        cells = {}
        for row in rows_of(mean_data(seed_data(trials, metric.name))):
            half = f" ± {metric.shows(row.high - row.mean)}" if row.n > 1 else ""
            cells[row.arm] = f"{metric.shows(row.mean)}{half}" if row.n else "–"
        table[sentence_case(metric.axis)] = table["Arm"].map(cells)
    done = trials[trials["status"] == "completed"].groupby("arm").size()
    return table.assign(n=table["Arm"].map(done).fillna(0).astype(np.int64))


def to_markdown(table: pd.DataFrame) -> str:
    """Return a GitHub-flavoured Markdown table; columns of numbers and n are aligned right."""
    right = [pd.api.types.is_numeric_dtype(table[name]) for name in table.columns]
    lines = [_line(table.columns), _line("---:" if number else "---" for number in right)]
    lines += [_line(row) for row in table.to_numpy()]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[object]) -> str:
    written = [escaped_markdown(str(cell).replace("\\", "\\\\")).replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(written)} |"


def escaped_markdown(text: str) -> str:
    """Return text on one line in which Markdown finds no HTML, no link and no image: names come from elsewhere."""
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(text.splitlines()))
    return re.sub(r"\]\s*(?=[(\[])", r"\\]", text)


def to_csv(table: pd.DataFrame) -> str:
    """Return a CSV table in which no text begins like a spreadsheet's formula (a quote mark goes before it)."""
    safe = table.rename(columns=_not_a_formula).map(_not_a_formula)
    return str(safe.to_csv(index=False, lineterminator="\n"))


_FORMULA = re.compile(r"[=@\t\r\n＝＠]|[-+＋－](?![\d.,]+(?:[eE][-+]?\d+)?(?:\s|%|$))")
"""What a spreadsheet takes for a formula, but for a sign before a number."""


def _not_a_formula(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # A lone CR is not quoted in CSV, and some readers end the row there.
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if _FORMULA.match(text.lstrip(" ")) else text


_SIGNS = {"−": "$-$", "±": "$\\pm$", "–": "--", "<": "$<$", ">": "$>$"}


def to_latex(table: pd.DataFrame, caption: str = "", label: str = "") -> str:
    """Return a LaTeX table with booktabs rules; every character that LaTeX reads as a command is escaped."""
    columns = "".join("r" if pd.api.types.is_numeric_dtype(table[name]) else "l" for name in table.columns)
    escaped = "".join(f"\\{sign}" if sign in "&%$#_{}" else sign for sign in caption)
    written = str(
        table.to_latex(index=False, escape=True, column_format=columns, caption=escaped or None, label=label or None)
    )
    for sign, command in _SIGNS.items():
        written = written.replace(sign, command)
    return written


def write_table(table: pd.DataFrame, path: str | Path, caption: str = "", label: str = "") -> Path:
    """Write a table as .md, .csv or .tex by the path's ending and return the path; StudyError for another ending."""
    path = Path(path)
    match path.suffix:
        case ".md":
            text = to_markdown(table)
        case ".csv":
            text = to_csv(table)
        case ".tex":
            text = to_latex(table, caption, label)
        case _:
            raise StudyError(f"`{path.name}` cannot be written as a table: the name must end in .md, .csv or .tex")
    return write_file(path, text)
