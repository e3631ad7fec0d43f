from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILLED = {"REGION": "us-east-1", "KEY": "a-key", "PROJECT": "a-project", "ZONE": "us-east1-b"}


def read_cluster_file(name: str) -> dict[str, Any]:
    """Return the file as its reader would leave it: placeholders replaced."""
    text = (ROOT / name).read_text()
    for placeholder, value in FILLED.items():
        text = text.replace(placeholder, value)
    return yaml.safe_load(text)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture
def aws() -> dict[str, Any]:
    return read_cluster_file("cluster.yaml")


@pytest.fixture
def gcp() -> dict[str, Any]:
    return read_cluster_file("deploy/gcp.yaml")


@pytest.fixture(params=["cluster.yaml", "deploy/gcp.yaml"])
def cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read_cluster_file(request.param)
