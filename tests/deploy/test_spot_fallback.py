"""Ray's own scheduler with our scorer: spot first, on-demand when AWS has just refused spot, spot again later."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler._private.loader import load_function_or_class
from ray.autoscaler._private.node_provider_availability_tracker import NodeProviderAvailabilityTracker
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for
from ray.autoscaler.node_launch_exception import NodeLaunchException

TRIAL = {"CPU": 1, "GPU": 0.25}
REFUSED = NodeLaunchException("InsufficientInstanceCapacity", "no spot capacity", None)


@pytest.fixture
def node_types(aws: dict[str, Any]) -> dict[str, Any]:
    for name, node_type in aws["available_node_types"].items():
        node_type["resources"] = {"CPU": 0} if name == "head" else {"CPU": 4, "GPU": 1}
    return aws["available_node_types"]


@pytest.fixture
def scorer(aws: dict[str, Any], root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load the scorer by the name that the head's start command gives, as Ray does."""
    words = aws["head_start_ray_commands"][-1].split("ray start")[0].replace(";", "").split()
    environment = dict(word.split("=", 1) for word in words if "=" in word)
    assert environment["PYTHONPATH"] == "$HOME/tune-app/deploy"
    assert aws["file_mounts"]["~/tune-app/deploy"] == "deploy"
    monkeypatch.syspath_prepend(str(root / "deploy"))
    yield load_function_or_class(environment["RAY_AUTOSCALER_UTILIZATION_SCORER"])
    sys.modules.pop("spot_fallback", None)


def launched(node_types: dict[str, Any], scorer: Any, tracker: NodeProviderAvailabilityTracker) -> dict[str, int]:
    bound = partial(scorer, node_availability_summary=tracker.summary())
    nodes, _ = get_nodes_for(node_types, {"head": 1}, "head", 8, [TRIAL] * 8, utilization_scorer=bound)
    return dict(nodes)


def test_spot_is_asked_for_first(node_types: dict[str, Any], scorer: Any) -> None:
    assert launched(node_types, scorer, NodeProviderAvailabilityTracker()) == {"gpu_spot": 2}


def test_on_demand_is_asked_for_when_spot_was_refused(node_types: dict[str, Any], scorer: Any) -> None:
    tracker = NodeProviderAvailabilityTracker(timer=lambda: 100.0)
    tracker.update_node_availability("gpu_spot", 100, REFUSED)
    assert launched(node_types, scorer, tracker) == {"gpu_on_demand": 2}


def test_rays_own_scorer_asks_for_the_refused_type_again(node_types: dict[str, Any]) -> None:
    """The reason for a scorer of our own: when this fails, Ray has learnt it and ours can go."""
    tracker = NodeProviderAvailabilityTracker(timer=lambda: 100.0)
    tracker.update_node_availability("gpu_spot", 100, REFUSED)
    assert launched(node_types, _default_utilization_scorer, tracker) == {"gpu_spot": 2}


def test_spot_is_tried_again_once_the_refusal_is_old(node_types: dict[str, Any], scorer: Any) -> None:
    now = [100.0]
    tracker = NodeProviderAvailabilityTracker(timer=lambda: now[0], ttl=600)
    tracker.update_node_availability("gpu_spot", 100, REFUSED)
    now[0] = 701.0
    assert launched(node_types, scorer, tracker) == {"gpu_spot": 2}


def test_nothing_is_launched_while_every_type_is_refused(node_types: dict[str, Any], scorer: Any) -> None:
    tracker = NodeProviderAvailabilityTracker(timer=lambda: 100.0)
    for name in ("gpu_spot", "gpu_on_demand"):
        tracker.update_node_availability(name, 100, REFUSED)
    assert launched(node_types, scorer, tracker) == {}
