"""cluster.yaml against AWS's own request model (botocore) and, through Ray's own bootstrap, a mock AWS (moto)."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.validate import ParamValidator
from cfnlint.api import lint_all
from cfnlint.decode import cfn_yaml
from moto import mock_aws
from ray.autoscaler._private.aws import config as ray_aws
from ray.autoscaler._private.aws import utils as ray_aws_utils
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config

pytestmark = pytest.mark.slow

Config = dict[str, Any]
EC2 = botocore.session.get_session().get_service_model("ec2")
HERE = "203.0.113.7/32"
TAGS = {"ray-node-type": "worker", "ray-launch-config": "0", "ray-user-node-type": "gpu_spot", "ray-node-name": "w"}


def request_errors(node_config: Config) -> str:
    """Return what AWS's model has against the RunInstances request that Ray makes of a node_config."""
    request = {**node_config, "MinCount": 1, "MaxCount": 1}
    shape = EC2.operation_model("RunInstances").input_shape
    return ParamValidator().validate(request, shape).generate_report()


def node_configs(config: Config) -> list[Config]:
    return [node_type["node_config"] for node_type in config["available_node_types"].values()]


def test_every_node_config_is_a_well_formed_request(aws: Config) -> None:
    assert [request_errors(node_config) for node_config in node_configs(aws)] == ["", "", ""]


@pytest.mark.parametrize("typo", ["InstanceMarketOption", "BlockDeviceMapping", "IamInstanceProfil"])
def test_a_misspelt_node_config_key_is_caught_where_rays_schema_is_silent(aws: Config, typo: str) -> None:
    aws["available_node_types"]["gpu_spot"]["node_config"][typo] = {}
    validate_config(prepare_config(copy.deepcopy(aws)))
    assert typo in request_errors(aws["available_node_types"]["gpu_spot"]["node_config"])


def test_a_misspelt_key_deep_in_a_node_config_is_caught(aws: Config) -> None:
    node_config = aws["available_node_types"]["gpu_spot"]["node_config"]
    node_config["InstanceMarketOptions"]["SpotOptions"]["MaxPrise"] = "1"
    assert "MaxPrise" in request_errors(node_config)


def test_machine_types_exist(aws: Config) -> None:
    known = set(EC2.shape_for("InstanceType").enum)
    assert {node_config["InstanceType"] for node_config in node_configs(aws)} <= known


def without_bucket_policy(template: str) -> str:
    """Leave out what moto does not know; tests/deploy/test_policies.py evaluates it."""
    return re.sub(r"  ResultsOverTlsOnly:\n(    .*\n)+", "", template)


@pytest.fixture
def stack(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: Config) -> Iterator[Any]:
    """A mock AWS in which deploy/aws-stack.yaml stands and the key exists; its CloudFormation stack."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", aws["provider"]["region"])
    monkeypatch.setenv("HOME", str(tmp_path))
    for cache in (ray_aws_utils.resource_cache, ray_aws_utils.client_cache, ray_aws._get_subnets_or_die):
        cache.cache_clear()
    with mock_aws():
        boto3.client("ec2").create_key_pair(KeyName="a-key")
        parameters = [("SshFrom", HERE), ("BucketName", "a-bucket")]
        yield boto3.resource("cloudformation").create_stack(
            StackName="tune-app",
            TemplateBody=without_bucket_policy((root / "deploy/aws-stack.yaml").read_text()),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )


def bootstrapped(config: Config) -> Config:
    config = prepare_config(config)
    validate_config(config)
    return ray_aws.bootstrap_aws(config)


def test_rays_bootstrap_finds_what_the_stack_made_and_makes_nothing_of_its_own(stack: Any, aws: Config) -> None:
    ec2, iam = boto3.client("ec2"), boto3.client("iam")
    before = {group["GroupId"] for group in ec2.describe_security_groups()["SecurityGroups"]}
    config = bootstrapped(aws)
    group = stack.Resource("ClusterGroup").physical_resource_id
    for node_config in node_configs(config):
        assert node_config["SecurityGroupIds"] == [group]
        assert node_config["SubnetIds"]
        assert iam.get_instance_profile(InstanceProfileName=node_config["IamInstanceProfile"]["Name"])
    assert {group["GroupId"] for group in ec2.describe_security_groups()["SecurityGroups"]} == before
    assert {profile["InstanceProfileName"] for profile in iam.list_instance_profiles()["InstanceProfiles"]} == {
        "tune-app-head",
        "tune-app-worker",
    }


def test_rays_bootstrap_reads_the_machines_from_aws(stack: Any, aws: Config) -> None:
    config = AWSNodeProvider.fillout_available_node_types_resources(bootstrapped(aws))
    resources = {name: node_type["resources"] for name, node_type in config["available_node_types"].items()}
    assert resources["head"]["CPU"] == 0
    for name in ("gpu_spot", "gpu_on_demand"):
        assert (resources[name]["CPU"], resources[name]["GPU"]) == (4, 1)


def test_ssh_from_one_address_is_the_only_way_in(stack: Any, aws: Config) -> None:
    bootstrapped(aws)
    group = boto3.resource("ec2").SecurityGroup(stack.Resource("ClusterGroup").physical_resource_id)
    from_outside = [rule for rule in group.ip_permissions if rule["IpRanges"] or rule.get("Ipv6Ranges")]
    assert [(rule["FromPort"], rule["ToPort"], rule["IpRanges"][0]["CidrIp"]) for rule in from_outside] == [
        (22, 22, HERE)
    ]
    among_nodes = [rule for rule in group.ip_permissions if rule not in from_outside]
    assert [[pair["GroupId"] for pair in rule["UserIdGroupPairs"]] for rule in among_nodes] == [[group.id]]


def test_without_the_stacks_group_ray_would_open_ssh_to_the_world(stack: Any, aws: Config) -> None:
    """The reason why the file names a group of the stack."""
    aws["provider"]["security_group"]["GroupName"] = "nobody-made-it"
    config = bootstrapped(aws)
    group = boto3.resource("ec2").SecurityGroup(node_configs(config)[0]["SecurityGroupIds"][0])
    assert any(ip["CidrIp"] == "0.0.0.0/0" for rule in group.ip_permissions for ip in rule["IpRanges"])


@pytest.mark.parametrize(("node_type", "lifecycle"), [("gpu_spot", "spot"), ("gpu_on_demand", None)])
@pytest.mark.filterwarnings("ignore:Could not find AMI:PendingDeprecationWarning")
def test_rays_provider_launches_and_terminates_a_worker(
    stack: Any, aws: Config, node_type: str, lifecycle: str | None
) -> None:
    config = bootstrapped(aws)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    node_config = config["available_node_types"][node_type]["node_config"]
    provider.create_node(node_config, TAGS | {"ray-user-node-type": node_type}, 1)
    (node,) = provider.non_terminated_nodes({"ray-user-node-type": node_type})
    instance = boto3.resource("ec2").Instance(node)
    assert instance.instance_type == "g6.xlarge"
    assert instance.key_name == "a-key"
    assert instance.instance_lifecycle == lifecycle
    assert {"Key": "ray-cluster-name", "Value": "tune-app"} in instance.tags
    provider.terminate_node(node)
    assert provider.non_terminated_nodes({}) == []


def statements(stack: Any, policy: str) -> list[Config]:
    arn = stack.Resource(policy).physical_resource_id
    found = boto3.resource("iam").Policy(arn)
    return found.default_version.document["Statement"]


def test_the_head_may_change_machines_of_its_own_tag_alone(stack: Any, aws: Config) -> None:
    for statement in statements(stack, "LaunchWorkers"):
        for action in statement["Action"]:
            assert "*" not in action
            if action in {"ec2:CreateTags", "ec2:TerminateInstances"}:
                assert statement["Condition"]["StringEquals"] in (
                    {"aws:ResourceTag/ray-cluster-name": aws["cluster_name"]},
                    {"ec2:CreateAction": "RunInstances"},
                )
        if statement["Resource"] == "*":
            assert all(action.startswith("ec2:Describe") for action in statement["Action"])


def test_the_head_may_launch_the_workers_machines_alone(stack: Any, aws: Config) -> None:
    launch = next(s for s in statements(stack, "LaunchWorkers") if s["Sid"] == "LaunchTagged")
    workers = {t["node_config"]["InstanceType"] for n, t in aws["available_node_types"].items() if n != "head"}
    condition = launch["Condition"]["StringEquals"]
    assert set(condition["ec2:InstanceType"].split(",")) == workers  # moto leaves the list as it was written
    assert condition["aws:RequestTag/ray-cluster-name"] == aws["cluster_name"]


@pytest.mark.parametrize("address", ["0.0.0.0/0", "0.0.0.0/1", "203.0.113.7"])
def test_the_stack_refuses_ssh_from_the_world(root: Path, address: str) -> None:
    template = cfn_yaml.load(root / "deploy/aws-stack.yaml")
    pattern = template["Parameters"]["SshFrom"]["AllowedPattern"]
    assert not re.fullmatch(pattern, address)
    assert re.fullmatch(pattern, HERE)


def test_cfn_lint_has_nothing_against_the_stack(root: Path) -> None:
    found = lint_all((root / "deploy/aws-stack.yaml").read_text())
    assert [str(match) for match in found if not match.rule.id.startswith("I")] == []
