"""The verb `compact`."""

from __future__ import annotations

from tune_app.cli.common import Results, Study, console
from tune_app.cli.report import store_of


def compact(study: Study, results: Results = "results") -> None:
    """Merge the files of a large study's finished trials, which makes it faster to read. Does not change any result.

    Example: `tune-app compact my-study --results s3://bucket/results`
    """
    from tune_app.tuning.store.compact import compact as merge
    from tune_app.tuning.store.locks import hold
    from tune_app.tuning.store.writer import ResultsStore

    folder = store_of(study, None, None, results)
    with hold(folder):
        merged = merge(ResultsStore(results, folder.root.rstrip("/").rsplit("/", 1)[-1]))
    console().print(f"merged the files of {merged} trials in {folder.url}", soft_wrap=True)
