"""deploy/gcp.yaml's machines against Google's own description of the Compute API, closed to unknown keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import googleapiclient
import jsonschema
import pytest
from jsonschema import Draft202012Validator

Schema = dict[str, Any]


@pytest.fixture(scope="module")
def instance() -> Schema:
    """Return the JSON schema of a Compute Engine instance."""
    document = Path(googleapiclient.__file__).parent / "discovery_cache/documents/compute.v1.json"
    schemas = json.loads(document.read_text(), object_hook=_closed)["schemas"]
    return {"$ref": "#/schemas/Instance", "schemas": schemas}


def _closed(node: Schema) -> Schema:
    """Turn an object of Google's discovery format into JSON schema that refuses keys it does not list."""
    if isinstance(node.get("$ref"), str):
        return {"$ref": f"#/schemas/{node['$ref']}"}
    if node.get("type") == "object" and "properties" in node:
        return {**node, "additionalProperties": False}
    return node


def machines(config: dict[str, Any]) -> list[Schema]:
    return [node_type["node_config"] for node_type in config["available_node_types"].values()]


def test_every_node_config_is_a_well_formed_instance(gcp: dict[str, Any], instance: Schema) -> None:
    wrong = [
        error.message for machine in machines(gcp) for error in Draft202012Validator(instance).iter_errors(machine)
    ]
    assert (len(machines(gcp)), wrong) == (3, [])


@pytest.mark.parametrize("place", ["", "scheduling"])
def test_a_misspelt_node_config_key_is_caught(gcp: dict[str, Any], instance: Schema, place: str) -> None:
    machine = gcp["available_node_types"]["gpu_spot"]["node_config"]
    (machine[place] if place else machine)["provisioningModle"] = "SPOT"
    with pytest.raises(jsonschema.ValidationError, match="provisioningModle"):
        jsonschema.validate(machine, instance)


def test_names_are_what_google_allows_in_labels(gcp: dict[str, Any]) -> None:
    for name in (gcp["cluster_name"], *gcp["available_node_types"]):
        assert name == name.lower()
        assert name.replace("-", "").replace("_", "").isalnum()
