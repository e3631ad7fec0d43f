"""CSV files of a study: one of its trials, one of its epochs."""

from __future__ import annotations

from pathlib import Path

from analysis import StudyResults
from search_spaces.files import write_file

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export(results: StudyResults, folder: Path) -> str:
    """Write ``trials.csv`` and ``epochs.csv`` into a folder, in place of those of before."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (("trials", results.trials), ("epochs", results.epochs)):
        content = table.map(lambda value: harmless(value) if isinstance(value, str) else value).to_csv(index=False)
        write_file(str(folder / f"{name}.csv"), content.encode())
    return f"{len(results.trials)} trials in {folder / 'trials.csv'}, {len(results.epochs)} epochs in epochs.csv"


def harmless(text: str) -> str:
    """Return a text with a leading quote where a spreadsheet would execute it as a formula."""
    return "'" + text if text.startswith(_FORMULA) else text
