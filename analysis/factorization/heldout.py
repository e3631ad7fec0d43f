"""Which observed cells to hold out, so that an estimate is judged at what it is used for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.factorization.masked import Mask

SHARE_OF_ROWS = 0.25
"""Rows that are given another row's gaps, of those with observed cells."""
SHARE_OF_CELLS = 0.1
"""Cells held out at random, where there are no gaps to imitate."""


def hold_out(observed: Mask, seed: int | Sequence[int]) -> Mask:
    """Return the cells to hide, drawn among ``observed``.

    Rows in random order are given the gaps of another random row, so the cells held out are missing as the missing ones
    are: at random if those are, at the ends of curves if trials were stopped. No row or column loses its last observed
    cell. Where no row can be given another's gaps, cells are drawn at random.
    """
    rng = np.random.default_rng(seed)
    kept = observed.copy()
    wanted = max(1, round(SHARE_OF_ROWS * int(observed.any(axis=1).sum())))
    gappy = np.flatnonzero(observed.any(axis=1) & ~observed.all(axis=1))
    for row in rng.permutation(len(observed)) if len(gappy) else ():
        lent = observed[row] & observed[rng.choice(gappy)]
        wanted -= _take(kept, row, lent)
        if wanted == 0:
            break
    if (kept == observed).all():
        for row, column in rng.permutation(np.argwhere(observed))[: max(1, round(SHARE_OF_CELLS * observed.sum()))]:
            lent = kept[row].copy()
            lent[column] = False
            _take(kept, row, lent)
    return observed & ~kept


def _take(kept: Mask, row: int, remaining: Mask) -> bool:
    """Leave only ``remaining`` in a row of ``kept`` and return True; False if nothing would go, or all of a line."""
    gone = kept[row] & ~remaining
    if not gone.any() or not remaining.any() or (kept[:, gone].sum(axis=0) == 1).any():
        return False
    kept[row] = remaining
    return True
