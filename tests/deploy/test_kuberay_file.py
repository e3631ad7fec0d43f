"""deploy/kuberay.yaml: its fields, its pods, and what Ray's own autoscaler reads out of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

Manifest = dict[str, Any]


@pytest.fixture
def manifests(root: Path) -> dict[str, Manifest]:
    """Return the file's documents by kind and name."""
    documents = yaml.safe_load_all((root / "deploy/kuberay.yaml").read_text())
    return {f"{document['kind']}/{document['metadata']['name']}": document for document in documents}


@pytest.fixture
def cluster(manifests: dict[str, Manifest]) -> Manifest:
    return manifests["RayCluster/tune-app"]


@pytest.fixture
def job(manifests: dict[str, Manifest]) -> Manifest:
    return manifests["RayJob/tune-app-study"]


def pods(manifests: dict[str, Manifest]) -> Iterator[Manifest]:
    cluster, job = manifests["RayCluster/tune-app"]["spec"], manifests["RayJob/tune-app-study"]["spec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]["spec"]
    yield job["submitterPodTemplate"]["spec"]


def check(part: str, spec: Manifest) -> None:
    schema = yaml.safe_load((Path(__file__).parent / "kuberay.schema.yaml").read_text())
    jsonschema.validate(spec, {**schema, "$ref": f"#/$defs/{part}"})


def test_every_field_is_one_of_the_api(cluster: Manifest, job: Manifest) -> None:
    assert {cluster["apiVersion"], job["apiVersion"]} == {"ray.io/v1"}
    check("cluster", cluster["spec"])
    check("job", job["spec"])


@pytest.mark.parametrize("path", [[], ["headGroupSpec"], ["autoscalerOptions"], ["workerGroupSpecs", 0]])
def test_a_misspelt_field_is_caught(cluster: Manifest, path: list[str | int]) -> None:
    place = cluster["spec"]
    for step in path:
        place = place[step]
    place["minReplica"] = 0
    with pytest.raises(jsonschema.ValidationError, match="minReplica"):
        check("cluster", cluster["spec"])


def test_rays_autoscaler_reads_gpu_workers_from_none_to_eight(cluster: Manifest) -> None:
    cluster["metadata"]["namespace"] = "default"
    config = _derive_autoscaling_config_from_ray_cr(cluster)
    head, gpu = config["available_node_types"]["headgroup"], config["available_node_types"]["gpu"]
    assert (gpu["min_workers"], gpu["max_workers"]) == (0, 8)
    assert (gpu["resources"]["CPU"], gpu["resources"]["GPU"]) == (4, 1)
    assert head["resources"]["CPU"] == 0
    assert config["idle_timeout_minutes"] == 5
    assert cluster["spec"]["enableInTreeAutoscaling"] is True


def test_the_cluster_demands_a_token_and_runs_the_version_of_ray_that_is_pinned(cluster: Manifest, root: Path) -> None:
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    assert cluster["spec"]["rayVersion"] == ray.__version__
    assert f"ray=={ray.__version__}" in (root / "constraints.txt").read_text().splitlines()
    assert f"ARG BASE=rayproject/ray:{ray.__version__}-py311" in (root / "deploy/Dockerfile").read_text()


def test_no_container_runs_as_root_or_without_limits(manifests: dict[str, Manifest], cluster: Manifest) -> None:
    autoscaler = cluster["spec"]["autoscalerOptions"]
    containers = [container for pod in pods(manifests) for container in pod["containers"]]
    assert len(containers) == 3
    for container in (*containers, autoscaler):
        context = container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()


def test_nodes_of_the_cluster_send_no_statistics(manifests: dict[str, Manifest]) -> None:
    *nodes, _ = pods(manifests)
    for pod in nodes:
        env = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
        assert env["RAY_USAGE_STATS_ENABLED"] == "0"
        assert env["RAY_USAGE_STATS_REPORT_URL"] == "http://127.0.0.1:9/"


def test_nothing_is_reachable_from_outside_the_namespace(manifests: dict[str, Manifest]) -> None:
    policy = manifests["NetworkPolicy/tune-app"]["spec"]
    assert policy["podSelector"]["matchLabels"] == {"ray.io/cluster": "tune-app"}
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["ingress"] == [{"from": [{"podSelector": {}}]}]
    assert manifests["RayCluster/tune-app"]["spec"]["headGroupSpec"]["serviceType"] == "ClusterIP"


def test_the_job_runs_a_study_on_that_cluster_with_results_in_an_object_store(job: Manifest, cluster: Manifest) -> None:
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:2] == ["tune-app", "run"]
    assert words[words.index("--address") + 1] == "auto"
    assert words[words.index("--results") + 1].startswith("s3://")


def test_the_image_can_keep_results_on_s3_and_google_cloud(root: Path) -> None:
    lines = (root / "deploy/Dockerfile").read_text().splitlines()
    (install,) = [shlex.split(line) for line in lines if "pip install" in line]
    assert {".[s3]", "gcsfs"} <= set(install)
    assert install[install.index("-c") + 1] == "constraints.txt"


def test_kubernetes_accepts_every_pod_and_object(manifests: dict[str, Manifest]) -> None:
    plain = [manifest for manifest in manifests.values() if manifest["apiVersion"] != "ray.io/v1"]
    made = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec} for spec in pods(manifests)]
    for manifest in plain + made:
        kubernetes_validate.validate(manifest, "1.33", strict=True)
    made[0]["spec"]["serviceAcountName"] = "typo"
    with pytest.raises(kubernetes_validate.ValidationError, match="serviceAcountName"):
        kubernetes_validate.validate(made[0], "1.33", strict=True)
