"""Which random draws the arms of an ablation share with the reference arm at one seed; nothing is trained or drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from search_spaces.config import TrialConfig
from search_spaces.config.base import is_reference
from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from tune_app.data import ImageArrays
from tune_app.tasks.image_planning import described_networks

MAX_NAMED = 3
"""Arms that a sentence names."""


def pairing_notes(spec: StudySpec, sources: Mapping[str, ImageArrays]) -> list[str]:
    """Return a sentence for each group of arms that share equally much with the reference arm."""
    if spec.mode != "ablation" or len(spec.seeds) < 2:
        return []
    plan, described = make_plan(spec), described_networks(spec, sources)
    by_name = {arm.name: arm.config for arm in plan.arms if isinstance(arm.config, TrialConfig)}
    reference = plan.reference_arm
    groups: dict[str, list[str]] = {}
    for name, config in by_name.items():
        if name != reference:
            shared = [
                _weights(described.get(name), described.get(reference), config, by_name[reference]),
                *_draws(config, by_name[reference]),
            ]
            groups.setdefault(", ".join(shared), []).append(name)
    return [f"shared with {reference} at each seed: {shared} ({_listed(arms)})" for shared, arms in groups.items()]


def _weights(
    arm: Mapping[str, Any] | None, reference: Mapping[str, Any] | None, config: TrialConfig, base: TrialConfig
) -> str:
    """Return how much of an arm's random initial weights the reference arm has too: equal names and shapes."""
    if arm is None or reference is None:
        same = is_reference(config.model.family) and config.model == base.model
        return "all initial weights" if same else "initial weights as far as your code draws them alike"
    shared, share = shared_weights(arm["weights"], reference["weights"])
    if shared == len(arm["weights"]):
        return "all initial weights"
    return f"{shared} of {len(arm['weights'])} initial weight tensors ({share:.0%} of the values)"


def shared_weights(arm: Mapping[str, list[int]], reference: Mapping[str, list[int]]) -> tuple[int, float]:
    """Return how many tensors of ``arm`` (name -> shape) are in ``reference``, and their share of its values."""
    common = [shape for name, shape in arm.items() if reference.get(name) == shape]
    total = sum(math.prod(shape) for shape in arm.values())
    return len(common), sum(math.prod(shape) for shape in common) / total if total else 1.0


def _draws(config: TrialConfig, reference: TrialConfig) -> list[str]:
    """Return what is shared of split, order and augmentation; arms with other images share none of them."""
    if _images(config) != _images(reference):
        return ["no split, order or augmentation (other images)"]
    own, theirs = operations(config), operations(reference)
    common = [name for name, settings in own.items() if theirs.get(name) == settings]
    if own == theirs:
        return ["split", "order", "augmentation"] if own else ["split", "order"]
    return ["split", "order", *([f"{' and '.join(common)} of the augmentation"] if common else [])]


def _images(config: TrialConfig) -> dict[str, Any]:
    """Return what determines the training images and their number."""
    data = config.data.canonical()
    return {name: value for name, value in data.items() if name not in ("resolution", "test_size")}


def operations(config: TrialConfig) -> dict[str, Any]:
    """Return the random operations of an augmentation policy, and the setting that their draws depend on."""
    part = config.augmentation
    found: dict[str, Any] = {}
    if part.policy == "randaugment":
        found |= {f"round {k + 1}": None for k in range(part.operations)}
    if part.policy in ("crop_flip", "randaugment"):
        found |= {"crop": part.padding} if part.padding else {}
        found |= {"flip": None} if part.flip else {}
    return found


def _listed(arms: list[str]) -> str:
    more = f" and {len(arms) - MAX_NAMED} more" if len(arms) > MAX_NAMED else ""
    return ", ".join(arms[:MAX_NAMED]) + more
