"""What is wrong with the deployment files, found by evaluating them: policies are decided, not compared as text."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from tempfile import NamedTemporaryFile
from typing import Any

from cfnlint.decode import cfn_yaml

Config = dict[str, Any]
BUCKET, ACCOUNT, REGION = "a-bucket", "123456789012", "us-east-1"
RESULTS = f"arn:aws:s3:::{BUCKET}/results/a/trials/x.parquet"
OTHER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/admin"
MACHINE = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-1"


def decide(statements: list[Config], action: str, resource: str, context: Mapping[str, str] | None = None) -> str:
    """Return "Allow", "Deny" (explicit) or "" (nothing allows it) for a request, as IAM evaluates policies.

    A condition on a key that the context lacks does not hold. An operator that is not known is an error.
    """
    effects = {
        statement["Effect"]
        for statement in statements
        if _matches(statement["Action"], action, fold=True)
        and _matches(statement["Resource"], resource)
        and all(_holds(*condition, context or {}) for condition in statement.get("Condition", {}).items())
    }
    return "Deny" if "Deny" in effects else "Allow" if "Allow" in effects else ""


def _matches(patterns: str | list[str], value: str, fold: bool = False) -> bool:
    listed = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatch.fnmatchcase(value.lower() if fold else value, each.lower() if fold else each) for each in listed)


def _holds(operator: str, keys: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    assert operator in ("StringEquals", "StringLike", "Bool"), operator
    for key, wanted in keys.items():
        values = [wanted] if isinstance(wanted, str) else wanted
        values = [each for value in values for each in value.split(",")]  # a parameter that is a list
        if key not in context or not _matches(values, context[key]):
            return False
    return True


def resolved_stack(text: str) -> dict[str, Config]:
    """Return the resources of a CloudFormation template with its parameters and references filled in."""
    with NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        template = cfn_yaml.load(file.name)
    values = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    values |= {"BucketName": BUCKET, "AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT}
    values |= {"HeadRole": "tune-app-head", "WorkerRole": "tune-app-worker", "Results": BUCKET}

    def value_of(name: str) -> str:
        resource, _, attribute = name.partition(".")
        arn = f"arn:aws:iam::{ACCOUNT}:role/{values.get(resource)}"
        return arn if attribute == "Arn" else str(values.get(name, name))

    def resolve(node: Any) -> Any:
        match node:
            case {"Ref": name}:
                return value_of(name)
            case {"Fn::GetAtt": name}:
                return value_of(".".join(name) if isinstance(name, list) else name)
            case {"Fn::Sub": written}:
                return re.sub(r"\$\{([^}]+)\}", lambda found: value_of(found[1]), written)
            case dict():
                return {key: resolve(inner) for key, inner in node.items()}
            case list():
                return [resolve(inner) for inner in node]
        return node

    return {name: resolve(resource) for name, resource in template["Resources"].items()}


def role_statements(stack: Mapping[str, Config], role: str) -> list[Config]:
    """Return the statements of all policies of a role of the stack."""
    found: list[Config] = []
    for resource in stack.values():
        properties = resource.get("Properties", {})
        if role in properties.get("Roles", ()) and "PolicyDocument" in properties:
            found += properties["PolicyDocument"]["Statement"]
        if properties.get("RoleName") == role:
            inline = properties.get("Policies", ())
            found += [statement for policy in inline for statement in policy["PolicyDocument"]["Statement"]]
            found += [
                {"Effect": "Allow", "Action": "*", "Resource": "*"} for _ in properties.get("ManagedPolicyArns", ())
            ]
    return found


def aws_role_problems(stack: Mapping[str, Config]) -> Iterator[str]:
    """Yield what the roles of the stack may do and should not, and what they may not and need."""
    head, worker = role_statements(stack, "tune-app-head"), role_statements(stack, "tune-app-worker")
    to_ec2 = {"iam:PassedToService": "ec2.amazonaws.com"}
    for name, statements in (("head", head), ("worker", worker)):
        for action in ("s3:GetObject", "s3:PutObject"):
            if decide(statements, action, RESULTS) != "Allow":
                yield f"the {name} needs {action}"
        for action in ("s3:DeleteObjectVersion", "s3:PutBucketVersioning", "s3:PutBucketPolicy", "iam:CreateRole"):
            if decide(statements, action, RESULTS) or decide(statements, action, f"arn:aws:s3:::{BUCKET}"):
                yield f"the {name} may {action}"
        if decide(statements, "s3:GetObject", "arn:aws:s3:::another/results/x"):
            yield f"the {name} reads other buckets"
        if decide(statements, "iam:PassRole", OTHER_ROLE, to_ec2):
            yield f"the {name} may pass any role"
        if decide(statements, "ec2:TerminateInstances", MACHINE, {"aws:ResourceTag/ray-cluster-name": "another"}):
            yield f"the {name} may terminate machines of others"
    if decide(head, "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/tune-app-worker", to_ec2) != "Allow":
        yield "the head cannot pass the workers' role"
    if decide(head, "s3:DeleteObject", RESULTS) != "Allow":
        yield "the head cannot remove checkpoints"
    for action, resource in (
        ("s3:DeleteObject", RESULTS),
        ("ec2:RunInstances", MACHINE),
        ("ec2:TerminateInstances", MACHINE),
    ):
        if decide(worker, action, resource, {"aws:ResourceTag/ray-cluster-name": "tune-app"}):
            yield f"the worker may {action}"


def aws_bucket_problems(stack: Mapping[str, Config]) -> Iterator[str]:
    """Yield what is wrong with the results bucket and its policy."""
    bucket = stack["Results"]["Properties"]
    if bucket.get("VersioningConfiguration", {}).get("Status") != "Enabled":
        yield "old versions are not kept"
    blocks = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    if not all(bucket.get("PublicAccessBlockConfiguration", {}).get(block) is True for block in blocks):
        yield "the bucket can be made public"
    if "AccessControl" in bucket or bucket["OwnershipControls"]["Rules"] != [
        {"ObjectOwnership": "BucketOwnerEnforced"}
    ]:
        yield "objects can have access lists of their own"
    rules = bucket.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", [])
    if not any(rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] in ("AES256", "aws:kms") for rule in rules):
        yield "the bucket is not encrypted"
    policies = [r["Properties"] for r in stack.values() if r["Type"] == "AWS::S3::BucketPolicy"]
    statements = [s for policy in policies if policy["Bucket"] == BUCKET for s in policy["PolicyDocument"]["Statement"]]
    for resource in (RESULTS, f"arn:aws:s3:::{BUCKET}"):
        if decide(statements, "s3:GetObject", resource, {"aws:SecureTransport": "false"}) != "Deny":
            yield f"{resource} can be reached without TLS"
        if decide(statements, "s3:GetObject", resource, {"aws:SecureTransport": "true"}):
            yield f"the bucket's own policy decides on {resource} over TLS"


def aws_machine_problems(cluster: Config) -> Iterator[str]:
    """Yield what is wrong with the machines of cluster.yaml."""
    for name, node_type in cluster["available_node_types"].items():
        config = node_type["node_config"]
        metadata = config.get("MetadataOptions", {})
        if metadata.get("HttpTokens") != "required" or metadata.get("HttpPutResponseHopLimit") != 1:
            yield f"{name}: its credentials can be read without a session (IMDSv1) or from a container"
        disks = [disk.get("Ebs", {}) for disk in config.get("BlockDeviceMappings", ())]
        if not disks or not all(disk.get("Encrypted") is True for disk in disks):
            yield f"{name}: a disk is not encrypted"
        role = "tune-app-head" if name == cluster["head_node_type"] else "tune-app-worker"
        if config.get("IamInstanceProfile") != {"Name": role}:
            yield f"{name}: runs with other rights than {role}"


def kubernetes_problems(manifests: Mapping[str, Config]) -> Iterator[str]:
    """Yield what is wrong with the pods of deploy/kuberay.yaml."""
    cluster, job = manifests["RayCluster/tune-app"]["spec"], manifests["RayJob/tune-app-study"]["spec"]
    pods = {"head": cluster["headGroupSpec"]["template"]["spec"], "submitter": job["submitterPodTemplate"]["spec"]}
    pods |= {f"worker {group['groupName']}": group["template"]["spec"] for group in cluster["workerGroupSpecs"]}
    for name, pod in pods.items():
        account = manifests.get(f"ServiceAccount/{pod.get('serviceAccountName')}", {})
        mounts_token = pod.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True))
        if mounts_token and name != "head":
            yield f"{name}: has a token for Kubernetes"
        if pod.get("hostNetwork") or pod.get("hostPID") or any("hostPath" in each for each in pod.get("volumes", ())):
            yield f"{name}: shares the machine's network, processes or files"
        for container in pod["containers"]:
            yield from _container_problems(name, container, pod)
    yield from _container_problems("autoscaler", cluster["autoscalerOptions"], pods["head"])


def _container_problems(name: str, container: Config, pod: Config) -> Iterator[str]:
    context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
    if not context.get("runAsNonRoot") or not context.get("runAsUser"):
        yield f"{name}: may run as root"
    if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: may gain rights"
    if context.get("capabilities", {}).get("drop") != ["ALL"] or context.get("capabilities", {}).get("add"):
        yield f"{name}: keeps capabilities"
    if context.get("readOnlyRootFilesystem") is not True:
        yield f"{name}: can change its own root file system"
    empty = {volume["name"] for volume in pod.get("volumes", ()) if "emptyDir" in volume}
    if "/tmp" not in {mount["mountPath"] for mount in container.get("volumeMounts", ()) if mount["name"] in empty}:
        yield f"{name}: has nowhere to write its session to"
    if re.search(r"@sha256:|^IMAGE$", container.get("image", "IMAGE")) is None:
        yield f"{name}: names its image by a tag"


def dockerfile_problems(text: str) -> Iterator[str]:
    """Yield what is wrong with a Dockerfile, by its instructions."""
    joined = re.sub(r"\\\n", " ", text)
    lines = [line.strip().split(None, 1) for line in joined.splitlines() if line.strip() and line.strip()[0] != "#"]
    instructions = [(words[0].upper(), words[1]) for words in lines]
    users = [value for name, value in instructions if name == "USER"]
    last_run = max(index for index, (name, _) in enumerate(instructions) if name == "RUN")
    if not users or users[-1].split(":")[0] in ("root", "0") or instructions[-1][0] != "USER":
        yield "the image does not end as a user without rights"
    if any(name in ("ADD",) or (name == "COPY" and value.split()[-2] == ".") for name, value in instructions):
        yield "the image copies more than it names"
    if "-c constraints.txt" not in instructions[last_run][1]:
        yield "the image installs versions that are not pinned"
    if any(
        re.search(r"token|secret|password|AWS_", value, re.IGNORECASE)
        for name, value in instructions
        if name in ("ENV", "ARG")
    ):
        yield "the image holds a secret"
