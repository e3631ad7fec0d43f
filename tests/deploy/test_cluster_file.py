"""cluster.yaml and deploy/gcp.yaml as Ray's own code reads them, and what they promise about cost and safety."""

from __future__ import annotations

import copy
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config, with_envs

Config = dict[str, Any]
GOOGLE_CONSTANTS = {"PERSISTENT", "SPOT", "DELETE", "TERMINATE", "NAT"}
SECURE = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
}


def start_commands(config: Config) -> list[str]:
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    return [command for command in commands if "ray start" in command]


def exported(command: str) -> dict[str, str]:
    """Return what a command exports before it starts Ray."""
    before = command.split("ray start")[0]
    return dict(word.rstrip(";").split("=", 1) for word in shlex.split(before) if re.match(r"[A-Z_]+=", word))


def workers(config: Config) -> dict[str, Config]:
    return {name: t for name, t in config["available_node_types"].items() if name != config["head_node_type"]}


def test_ray_accepts_the_file(cluster: Config) -> None:
    prepared = prepare_config(copy.deepcopy(cluster))
    validate_config(prepared)
    assert set(prepared["available_node_types"]) == {"head", "gpu_spot", "gpu_on_demand"}
    assert {key: prepared[key] for key in ("max_workers", "idle_timeout_minutes")} == {
        key: cluster[key] for key in ("max_workers", "idle_timeout_minutes")
    }


def test_ray_refuses_a_misspelt_key(cluster: Config) -> None:
    cluster["idle_timeout_minute"] = cluster.pop("idle_timeout_minutes")
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minute"):
        validate_config(prepare_config(cluster))


@pytest.mark.parametrize(
    ("name", "placeholders"),
    [("cluster.yaml", {"REGION", "KEY"}), ("deploy/gcp.yaml", {"PROJECT", "REGION", "ZONE"})],
)
def test_only_the_announced_placeholders_are_left_to_fill_in(root: Path, name: str, placeholders: set[str]) -> None:
    config = yaml.safe_load((root / name).read_text())
    values = str([config["provider"], config["auth"], config["available_node_types"]])
    assert set(re.findall(r"\b[A-Z]{3,}\b", values)) - {"CPU", "GPU"} - GOOGLE_CONSTANTS == placeholders


def test_every_start_command_demands_the_token_and_sends_no_statistics(cluster: Config) -> None:
    commands = start_commands(cluster)
    assert len(commands) == 2
    for command in commands:
        assert SECURE.items() <= exported(command).items()


def test_the_head_starts_the_autoscaler_that_prefers_spot_though_ray_up_asks_for_the_other(cluster: Config) -> None:
    """Version 2 reads no scorer, and takes equal types in turn."""
    setup = cluster["head_start_ray_commands"][-1].split("ulimit")[0]
    command = with_envs([f"{setup} echo $RAY_enable_autoscaler_v2"], {"RAY_enable_autoscaler_v2": "1"})[0]
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


def test_the_token_reaches_every_node_readable_by_its_owner_alone(cluster: Config) -> None:
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert cluster["setup_commands"][0] == "chmod 600 ~/.ray/auth_token"
    assert not any("auth_token" in str(value) for value in cluster["available_node_types"].values())


def test_the_dashboard_listens_on_loopback_alone(cluster: Config) -> None:
    head = next(command for command in start_commands(cluster) if "--head" in command)
    assert "--dashboard-host=127.0.0.1" in head.split()
    assert not any("0.0.0.0" in command for command in start_commands(cluster))


def test_nothing_but_the_head_costs_money_while_idle(cluster: Config) -> None:
    assert workers(cluster)
    for node_type in workers(cluster).values():
        assert node_type["min_workers"] == 0
        assert 0 < node_type["max_workers"] <= cluster["max_workers"]
    assert 0 < cluster["idle_timeout_minutes"] <= 10
    assert cluster["provider"]["cache_stopped_nodes"] is False
    assert cluster["available_node_types"][cluster["head_node_type"]]["max_workers"] == 0


def test_spot_and_on_demand_differ_in_the_market_alone(cluster: Config) -> None:
    spot, on_demand = workers(cluster)["gpu_spot"], workers(cluster)["gpu_on_demand"]
    market = {"InstanceMarketOptions", "scheduling"}

    def machine(node_type: Config) -> Config:
        return {key: value for key, value in node_type["node_config"].items() if key not in market}

    assert machine(spot) == machine(on_demand)
    assert spot["resources"] == on_demand["resources"]
    assert "spot" in str(spot["node_config"]).lower()
    assert "spot" not in str(on_demand["node_config"]).lower()


def test_every_mounted_file_is_in_the_repository(cluster: Config, root: Path) -> None:
    sources = [source for source in cluster["file_mounts"].values() if not source.startswith("~")]
    assert [source for source in sources if not (root / source).exists()] == []


def test_nodes_install_the_pinned_versions(cluster: Config) -> None:
    installs = [command for command in cluster["setup_commands"] if "pip install" in command]
    assert len(installs) == 1
    assert "-c constraints.txt" in installs[0]
    assert "'ray[default]'" in installs[0]  # the dashboard and the job server, which ray[tune] leaves out
