"""Compaction: the per-trial files of a store merged, also those that runs left unmerged."""

from __future__ import annotations

from tune_app.tuning.store.merging import IN_ORDER, MERGED, merge_files, read_part
from tune_app.tuning.store.writer import ResultsStore

TRIALS_PER_FILE = 10_000


def compact(store: ResultsStore) -> int:
    """Merge the files of trials that need no more training, and return of how many trials. The caller holds the store.

    Raises StudyError for a damaged file; what was merged before it stays merged.
    """
    done = [f"{digest}-{fingerprint}.parquet" for digest, fingerprint in store.finished(MERGED)]
    for table in IN_ORDER:
        folder = store.folder / table
        here = sorted(set(folder.names(".parquet")).intersection(done))
        merged = len(here)
        for start in range(0, len(here), TRIALS_PER_FILE):
            names = here[start : start + TRIALS_PER_FILE]
            merge_files(folder, table, {name: read_part(folder, name) for name in names})
    return merged
