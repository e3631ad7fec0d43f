"""The deployment's policies, evaluated; each check is tried on a file that it must find fault with."""

from __future__ import annotations

import copy
import re
import subprocess
from pathlib import Path
from typing import Any

import audit
import pytest
import yaml

Config = dict[str, Any]


def stack_problems(root: Path, *replaced: tuple[str, str]) -> list[str]:
    """Return the problems of deploy/aws-stack.yaml with parts of its text replaced."""
    text = (root / "deploy/aws-stack.yaml").read_text()
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    stack = audit.resolved_stack(text)
    return [*audit.aws_role_problems(stack), *audit.aws_bucket_problems(stack)]


def test_the_stack_gives_each_role_what_it_needs_and_no_more(root: Path) -> None:
    assert stack_problems(root) == []


MUTANTS = {
    "PassRole to anything": [("Resource: !GetAtt WorkerRole.Arn", 'Resource: "*"')],
    "a public bucket": [("BlockPublicPolicy: true", "BlockPublicPolicy: false")],
    "no versions": [("{Status: Enabled}", "{Status: Suspended}")],
    "plain HTTP": [("Effect: Deny", "Effect: Allow")],
    "TLS required of the bucket alone": [("              - !Sub arn:${AWS::Partition}:s3:::${BucketName}/*\n", "")],
    "workers delete": [("Action: [s3:GetObject, s3:PutObject,", "Action: [s3:GetObject, s3:DeleteObject, s3:PutObject,")],
    "old versions are removed": [("Action: [s3:DeleteObject]", 'Action: ["s3:DeleteObject*"]')],
    "every action": [("Action: [s3:GetObject, s3:PutObject, s3:AbortMultipartUpload]", 'Action: ["*"]')],
    "any machine": [("StringEquals: {aws:ResourceTag/ray-cluster-name: !Ref ClusterName}", "StringLike: {'aws:ResourceTag/ray-cluster-name': '*'}")],
    "no encryption": [("SSEAlgorithm: AES256", "SSEAlgorithm: none")],
    "a role's own policy": [("RoleName: !Sub ${ClusterName}-worker\n", "RoleName: !Sub ${ClusterName}-worker\n      ManagedPolicyArns: [x]\n")],
    "every bucket": [("s3:::${BucketName}/results/*", "s3:::*/results/*")],
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_stack_that_gives_away_more_is_found_out(mutant: str, root: Path) -> None:
    assert stack_problems(root, *MUTANTS[mutant]) != []


def test_machines_ask_for_a_session_and_encrypt_their_disks(aws: Config) -> None:
    assert list(audit.aws_machine_problems(aws)) == []


@pytest.mark.parametrize("node_type", ["head", "gpu_spot", "gpu_on_demand"])
@pytest.mark.parametrize(
    "change",
    [
        {"MetadataOptions": {"HttpTokens": "optional", "HttpPutResponseHopLimit": 1}},
        {"MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}},
        {"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 150, "Encrypted": False}}]},
        {"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 150}}]},
        {"IamInstanceProfile": {"Name": "admin"}},
    ],
)
def test_a_machine_that_gives_away_more_is_found_out(aws: Config, node_type: str, change: Config) -> None:
    changed = copy.deepcopy(aws)
    changed["available_node_types"][node_type]["node_config"].update(change)
    assert list(audit.aws_machine_problems(changed)) != []


@pytest.fixture
def manifests(root: Path) -> dict[str, Config]:
    documents = yaml.safe_load_all((root / "deploy/kuberay.yaml").read_text())
    named = {f"{document['kind']}/{document['metadata']['name']}": document for document in documents}
    return copy.deepcopy(named)


def test_pods_have_no_rights_that_they_do_not_need(manifests: dict[str, Config]) -> None:
    assert list(audit.kubernetes_problems(manifests)) == []


def worker_of(manifests: dict[str, Config]) -> Config:
    return manifests["RayCluster/tune-app"]["spec"]["workerGroupSpecs"][0]["template"]["spec"]


def test_a_workers_token_for_kubernetes_is_found_out(manifests: dict[str, Config]) -> None:
    worker_of(manifests)["automountServiceAccountToken"] = True
    assert list(audit.kubernetes_problems(manifests)) == ["worker gpu: has a token for Kubernetes"]
    del worker_of(manifests)["automountServiceAccountToken"]
    assert list(audit.kubernetes_problems(manifests)) == []  # its account's own setting
    del manifests["ServiceAccount/tune-app-worker"]["automountServiceAccountToken"]
    assert list(audit.kubernetes_problems(manifests)) == ["worker gpu: has a token for Kubernetes"]


@pytest.mark.parametrize(
    "change",
    [
        {"runAsUser": 0},
        {"runAsNonRoot": False},
        {"privileged": True},
        {"allowPrivilegeEscalation": True},
        {"readOnlyRootFilesystem": False},
        {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}},
    ],
)
def test_a_container_with_more_rights_is_found_out(manifests: dict[str, Config], change: Config) -> None:
    container = worker_of(manifests)["containers"][0]
    container["securityContext"] = {**container["securityContext"], **change}
    assert list(audit.kubernetes_problems(manifests)) != []


def test_a_pod_that_shares_the_machine_or_names_a_tag_is_found_out(manifests: dict[str, Config]) -> None:
    worker_of(manifests)["volumes"] = [*worker_of(manifests)["volumes"], {"name": "x", "hostPath": {"path": "/"}}]
    assert any("shares the machine" in problem for problem in audit.kubernetes_problems(manifests))
    worker_of(manifests)["containers"][0]["image"] = "registry/tune-app:latest"
    assert any("by a tag" in problem for problem in audit.kubernetes_problems(manifests))


def test_the_image_ends_without_rights_and_holds_what_it_names(root: Path) -> None:
    assert list(audit.dockerfile_problems((root / "deploy/Dockerfile").read_text())) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("USER 1000", "USER root"),
        ("USER 1000", "USER 0:0"),
        ("USER 1000", ""),
        ("USER 1000", "USER 1000\nRUN -c constraints.txt\nUSER root"),
        ("COPY --chown=1000:100 analysis analysis", "COPY . ."),
        ("-c constraints.txt", ""),
        ("ENV ", "ENV RAY_AUTH_TOKEN=x "),
    ],
)
def test_an_image_with_more_is_found_out(root: Path, old: str, new: str) -> None:
    text = (root / "deploy/Dockerfile").read_text()
    assert old in text
    assert list(audit.dockerfile_problems(text.replace(old, new))) != []


def test_the_image_is_built_from_what_it_copies_alone(root: Path) -> None:
    """Whatever else lies in a checkout (results, tokens, history) never reaches the builder."""
    rules = [line for line in (root / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    copied = set()
    for line in (root / "deploy/Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            copied |= {word for word in line.split()[1:-1] if not word.startswith("--")}
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    tracked = subprocess.run(["git", "ls-files", *copied], cwd=root, capture_output=True, text=True, check=False)
    if tracked.returncode == 0 and tracked.stdout:
        others = [name for name in tracked.stdout.splitlines() if not name.endswith((".py", ".html", ".js", ".css"))]
        assert not re.search(r"token|\.env|\.pem", "\n".join(others))


def test_googles_head_may_change_its_own_workers_alone(root: Path) -> None:
    observer, launcher, condition = (
        yaml.safe_load((root / f"deploy/gcp-{name}.yaml").read_text()) for name in ("observer", "launcher", "condition")
    )
    seen, changed = set(observer["includedPermissions"]), set(launcher["includedPermissions"])
    assert all(permission.rsplit(".", 1)[1] in ("list", "get") for permission in seen)
    assert {"compute.instances.create", "compute.instances.delete"} <= changed
    assert not any(re.search(r"\*|iam|[sS]et(Iam|Metadata)Policy|projects\.", permission) for permission in changed)
    parts = [part.strip() for part in condition["expression"].split("||")]
    pattern = r'resource\.name\.startsWith\("projects/PROJECT/zones/ZONE/(instances|disks)/ray-tune-app-worker-"\)'
    assert all(re.fullmatch(pattern, part) for part in parts)
    commands = (root / "deploy/gcp.yaml").read_text().split("cluster_name:")[0]
    assert "instanceAdmin" not in commands
    assert commands.count("--condition=None") == 1  # that of the observer


def test_the_names_in_the_condition_are_those_that_ray_gives(gcp: Config) -> None:
    from ray.autoscaler._private.gcp.node import _generate_node_name
    from ray.autoscaler.tags import TAG_RAY_NODE_NAME

    name = _generate_node_name({TAG_RAY_NODE_NAME: f"ray-{gcp['cluster_name']}-worker"}, "compute")
    assert name.startswith("ray-tune-app-worker-")
