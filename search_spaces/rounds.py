"""The rounds of a study: when which seeds were planned, and by which rule. The store keeps them in ``rounds.json``.

Each run that plans seeds beyond those planned before, that changes the rule by which seeds are added, or the number of
trials by which arms are tuned, is a round. Where that was done after results could be seen, and not by a rule, verdicts
have a larger error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from search_spaces._yaml import parse_json
from search_spaces.errors import StudyError

ROUNDS_FILE = "rounds.json"


@dataclass(frozen=True)
class Round:
    """One round. ``planned_at``: time in UTC, ISO 8601; None where it is not known.

    ``looks``: numbers of seeds at which the rule looks, with its ``spending`` function; None: all seeds at once.
    ``trials``: of a tuned ablation, those of each arm and repeat; None for other studies, and where it is not known.
    """

    seeds: tuple[int, ...]
    planned_at: str | None = None
    looks: tuple[int, ...] | None = None
    spending: str | None = None
    trials: int | None = None


def with_round(rounds: Sequence[Round], new: Round) -> tuple[Round, ...]:
    """Return the rounds with a new one, where it plans further seeds, follows another rule or tunes by other trials."""
    known = {seed for one in rounds for seed in one.seeds}
    is_other_rule = bool(rounds) and (rounds[-1].looks, rounds[-1].spending) != (new.looks, new.spending)
    is_retuned = bool(rounds) and rounds[-1].trials not in (None, new.trials)
    return (*rounds, new) if is_other_rule or is_retuned or set(new.seeds) - known else tuple(rounds)


def rounds_to_json(rounds: Sequence[Round]) -> str:
    """Return the text of ``rounds.json``."""
    return json.dumps([asdict(one) for one in rounds], indent=1)


def rounds_from_json(text: str) -> tuple[Round, ...]:
    """Return the rounds that a text holds; StudyError where it is not what `rounds_to_json` writes."""
    found = parse_json(text, ROUNDS_FILE)
    if not isinstance(found, list):
        raise StudyError(f"{ROUNDS_FILE} is not a list of rounds")
    return tuple(map(_round, found))


def _round(tree: Any) -> Round:
    if not isinstance(tree, Mapping) or not _are_numbers(tree.get("seeds")):
        raise StudyError(f"{ROUNDS_FILE}: a round has no list of seeds")
    looks, spending, at = tree.get("looks"), tree.get("spending"), tree.get("planned_at")
    if not (looks is None or _are_numbers(looks)) or not all(isinstance(one, str | None) for one in (spending, at)):
        raise StudyError(f"{ROUNDS_FILE}: a round has looks that are no numbers, or a time or rule that is no text")
    trials = tree.get("trials")
    if not (trials is None or _are_numbers([trials])):
        raise StudyError(f"{ROUNDS_FILE}: a round has trials that are no number")
    return Round(tuple(tree["seeds"]), at, None if looks is None else tuple(looks), spending, trials)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) is int and one >= 0 for one in value)
