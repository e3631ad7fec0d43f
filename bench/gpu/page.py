"""docs/gpu.md, written from the results table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.gpu.reproduction import PART as REPRODUCTION
from bench.gpu.reproduction import STUDIES
from bench.gpu.results import Row
from search_spaces.study_files import read_study

DOCS = Path(__file__).parents[2] / "docs"
PAGE, TABLE = DOCS / "gpu.md", DOCS / "gpu.parquet"
BEGIN, END = "<!-- bench.gpu: begin -->", "<!-- bench.gpu: end -->"
TITLES = {
    "agreement": "CUDA against the CPU",
    "repeats": "Repeating and resuming",
    "memory": "Memory",
    "waits": "No waiting within an epoch",
    "speed": "Speed",
    "side_by_side": "Trials side by side",
    REPRODUCTION: "Published tables on CIFAR-10 (JPEG copy)",
}
NOTHING = "**Nothing of this project has run on CUDA yet.** The checks above have only been run on a CPU, by the tests."


def page(rows: Sequence[Row], head: str) -> str:
    """Return the page: what is outside the marks of ``head``, and the results between them."""
    before, after = head.split(BEGIN)[0], head.split(END)[1]
    return f"{before}{BEGIN}\n{results_text(rows)}\n{END}{after}"


def results_text(rows: Sequence[Row]) -> str:
    """Return the results as Markdown; of full size on a GPU only, since nothing else says anything about CUDA."""
    found = [row for row in rows if row.size == "full" and "CUDA" in row.versions]
    if not found:
        return NOTHING
    lines = ["Measured on " + "; ".join(sorted({f"{row.device}, {row.versions}" for row in found})) + ".", ""]
    judged = [row for row in found if row.passed is not None]
    failed = [row for row in judged if not row.passed]
    lines.append(f"{len(judged)} checks have a bound: {len(judged) - len(failed)} passed, {len(failed)} failed.")
    for part, title in TITLES.items():
        of_part = [row for row in found if row.part == part]
        if of_part:
            lines += ["", f"### {title}", "", *(_cells(of_part) if part == REPRODUCTION else _table(of_part))]
    return "\n".join(lines)


def _table(rows: Iterable[Row]) -> list[str]:
    rows = list(rows)
    lines = [f"{what[0].upper()}{what[1:]}." for what in dict.fromkeys(row.what for row in rows)]
    lines = [line for part in lines for line in (part, "")]
    lines += ["| check | value | bound | passed |", "|---|---:|---|---|"]
    for row in rows:
        value = "" if row.value is None else f"{row.value:,.4g} {row.unit}".strip()
        passed = {True: "yes", False: "**no**", None: ""}[row.passed]
        error = f" ({row.error.splitlines()[0][:160].replace('|', '/')})" if row.error else ""
        lines.append(f"| {row.name} | {value} | {row.bound} | {passed}{error} |")
    return lines


def _cells(rows: Sequence[Row]) -> list[str]:
    """Return a row for each arm: the published test accuracy beside that of each seed."""
    lines = ["Test accuracy of each trial beside the published one. Verdicts: `tune-app report` on the stores.", ""]
    lines += ["| study | arm | epochs | published | by seed |", "|---|---|---:|---:|---|"]
    for study, epochs in STUDIES.items():
        reference = read_study(study, "full").reference
        published = {figure.arm: figure for figure in reversed(reference.figures if reference else ())
                     if figure.metric == "test_accuracy"}  # fmt: skip
        arms: dict[str, list[str]] = {}
        for row in sorted((row for row in rows if row.name.startswith(f"{study}, ")), key=lambda row: row.name):
            arm, _, seed = row.name.removeprefix(f"{study}, ").rpartition(", seed ")
            lacking = "failed" if row.error else "diverged"
            arms.setdefault(arm, []).append(f"{seed}: {lacking if row.value is None else format(row.value, '.4f')}")
        for arm, values in arms.items():
            stated = f"{published[arm].value:.4f}" if arm in published else ""
            lines.append(f"| {study} | {arm} | {epochs} | {stated} | {', '.join(values)} |")
    return lines
