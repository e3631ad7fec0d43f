"""Trials that a store has lost, whether they have files of their own or were merged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def remove_trials(store: Path, is_gone: Callable[[dict[str, Any]], bool]) -> None:
    """Remove the rows of ``trials`` for which ``is_gone`` holds; at least one."""
    found = 0
    for path in (store / "trials").glob("*.parquet"):
        table = pq.read_table(path)
        kept = [not is_gone(row) for row in table.to_pylist()]
        found += kept.count(False)
        path.unlink()
        if any(kept):
            pq.write_table(table.filter(pa.array(kept)), path)
    assert found
