"""The rows of a table, loosely typed: what a column holds is the schema's business, not the type checker's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd


def rows_of(table: pd.DataFrame) -> Iterator[Any]:
    """Yield each row as a named tuple, without the index."""
    yield from table.itertuples(index=False)


def level_text(value: object) -> str:
    """Return a level as text; a missing one is "null", a choice that a searched field may have."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "null"
    return f"{value:.12g}" if isinstance(value, float) else str(value)
