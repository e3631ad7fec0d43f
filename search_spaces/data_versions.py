"""Which of a store's trials are of the version of the data that counts, where the data changed between runs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from search_spaces._yaml import parse_json
from search_spaces.errors import StudyError


class Trained(NamedTuple):
    """What decides about a trial: its digest, the fingerprint of its data, when it ended, its config as JSON."""

    digest: str
    fingerprint: str
    finished: float
    config: str | None


def of_one_version(rows: Sequence[Trained], latest: bool = False) -> list[bool]:
    """Return for each trial of a study whether it counts.

    Trials with the same ``data`` section (its path aside) read the same data. Where they have several fingerprints, so
    that the data changed, the version that most of them have counts; of two with as many the one finished last.
    ``latest``: the one finished last in any case, as in a search, which goes on with it.
    """
    if len({row.fingerprint for row in rows}) < 2:
        return [True] * len(rows)
    data: dict[str, str] = {}
    versions: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.digest not in data:
            data[row.digest] = _data_section(row.config)
        versions[data[row.digest]][row.fingerprint].append(row.finished)
    chosen = {
        section: max(found, key=lambda version: (0 if latest else len(found[version]), max(found[version])))
        for section, found in versions.items()
    }
    return [chosen[data[row.digest]] == row.fingerprint for row in rows]


def _data_section(config: str | None) -> str:
    try:
        tree = parse_json(config or "", "config")
    except StudyError:
        return ""
    section = tree.get("data") if isinstance(tree, dict) else None
    if not isinstance(section, dict):
        return ""
    return json.dumps({k: v for k, v in section.items() if k != "path"}, sort_keys=True)
