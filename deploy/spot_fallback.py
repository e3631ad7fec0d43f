"""Let Ray's autoscaler fall back from a node type that the cloud refuses to the next one.

Ray's own scorer is handed what the cloud has lately refused and does not look at it, so a cluster whose spot capacity
is gone asks for spot again and again. Name this one in ``RAY_AUTOSCALER_UTILIZATION_SCORER`` on the head.
"""

from __future__ import annotations

from typing import Any

from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer


def score(
    node_resources: dict[str, Any],
    resources: list[dict[str, Any]],
    node_type: str,
    *,
    node_availability_summary: NodeAvailabilitySummary,
) -> Any | None:
    """Return Ray's own score of a node type for the waiting demands, or None (not to be launched) if lately refused.

    A refusal is forgotten after ``AUTOSCALER_NODE_AVAILABILITY_MAX_STALENESS_S`` seconds, so the cheaper type is
    tried again. Where every type is refused nothing is launched until then.
    """
    record = node_availability_summary.node_availabilities.get(node_type)
    if record is not None and not record.is_available:
        return None
    return _default_utilization_scorer(
        node_resources, resources, node_type, node_availability_summary=node_availability_summary
    )
