"""Let Ray's autoscaler fall back to the next node type when the cloud refuses one.

Ray's default scorer receives the recent refusals of the cloud but ignores them, so without spot capacity a cluster
requests spot again and again. Set ``RAY_AUTOSCALER_UTILIZATION_SCORER`` on the head to this scorer.
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
    """Return Ray's default score of a node type for the pending demands, or None (do not launch) if recently refused.

    A refusal expires after ``AUTOSCALER_NODE_AVAILABILITY_MAX_STALENESS_S`` seconds, so the cheaper type is tried
    again. If every type is refused, nothing is launched until then.
    """
    record = node_availability_summary.node_availabilities.get(node_type)
    if record is not None and not record.is_available:
        return None
    return _default_utilization_scorer(
        node_resources, resources, node_type, node_availability_summary=node_availability_summary
    )
