"""Factorize one matrix, or one study's curves, and write down what was found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.factorization import FactorizationReport, check_factorization, contraction_by_rank, curves_matrix, table
from analysis.factorization.matrix import Matrix, as_matrix, require_rank
from analysis.plots.factorization import draw_convergence, draw_rates, draw_spectrum
from analysis.plots.picture import save
from analysis.report.tables import escaped_markdown, to_csv
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError
from search_spaces.files import write_file

RANKS_SHOWN = 8
"""Ranks at which the speed is measured for its picture."""


def factorize(
    source: Matrix | StudyResults,
    rank: int,
    out_dir: str | Path,
    starts: int = 5,
    seed: int = 0,
    metric: str | None = None,
) -> FactorizationReport:
    """Check ALS at ``rank`` on a matrix, or on a study's trials x epochs of ``metric``, and write the findings.

    ``metric`` is that which the study chooses by if None.

    Writes convergence.png, spectrum.png, rates.png, checks.csv and checks.md into ``out_dir``. Of a study only the
    trials that have every epoch are taken; the report's notes say how many were left out. Raises StudyError for a
    matrix that is not complete, or a rank that does not fit.
    """
    matrix, notes = _of_study(source, metric) if isinstance(source, StudyResults) else (as_matrix(source), ())
    report = check_factorization(matrix, rank, starts=starts, seed=seed)
    report = replace(report, notes=notes + report.notes)
    out = Path(out_dir)
    save(draw_convergence(report).figure, out / "convergence.png")
    save(draw_spectrum(report).figure, out / "spectrum.png")
    save(draw_rates(contraction_by_rank(matrix, _ranks(matrix, rank), seed)).figure, out / "rates.png")
    write_file(out / "checks.csv", to_csv(table(report)))
    write_file(out / "checks.md", to_markdown(report))
    return report


def to_markdown(report: FactorizationReport) -> str:
    """Return the report's checks as a Markdown page."""
    m, n = report.matrix.shape
    lines = [
        f"# Rank-{report.svd.rank} factorization of a {m} x {n} matrix",
        "",
        f"{len(report.traces)} random starts (seeds {report.traces[0].seed} to {report.traces[-1].seed}); "
        f"optimum 1/2 sum of the dropped singular values squared = {report.svd.optimum:.10g}.",
        *(f"Note: {escaped_markdown(note)}." for note in report.notes),
        "",
        "| check | verdict | measured | tolerance | in words |",
        "|---|---|---|---|---|",
    ]
    for check in report.checks:
        measured = next(iter(check.numbers.values()))
        words = escaped_markdown(check.words).replace("|", "\\|")
        lines.append(f"| {check.name} | {check.verdict} | {measured:.3g} | {check.tolerance:.3g} | {words} |")
    return "\n".join(lines) + "\n"


def _of_study(results: StudyResults, metric: str | None) -> tuple[Matrix, tuple[str, ...]]:
    metric = metric or results.choose_by
    curves = curves_matrix(results, metric)
    whole = curves.dropna()
    if whole.empty:
        raise StudyError(f"no trial of study {results.name!r} has {metric} for every epoch: nothing to factorize")
    left_out = len(curves) - len(whole)
    note = f"{left_out} of {len(curves)} trials lack epochs and were left out"
    return whole.to_numpy(), (note,) if left_out else ()


def _ranks(matrix: Matrix, rank: int) -> list[int]:
    """Return up to eight ranks from 1 to twice the one asked for, below the full one."""
    require_rank(matrix, rank)
    highest = max(1, min(2 * rank, min(matrix.shape) - 1))
    return sorted({int(value) for value in np.linspace(1, highest, RANKS_SHOWN).round()} | {rank})
