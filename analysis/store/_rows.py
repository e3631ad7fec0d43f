"""The rows of a table, loosely typed: what a column holds is the schema's business, not the type checker's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd


def rows_of(table: pd.DataFrame) -> Iterator[Any]:
    """Yield each row as a named tuple, without the index."""
    yield from table.itertuples(index=False)
