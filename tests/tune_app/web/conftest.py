from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from bench.make_store import Truth, write_store
from tune_app.web.app import create_app
from tune_app.web.settings import Settings

URL = "http://localhost:8600"


class Site:
    """An application over a results folder, with a client for each scope."""

    def __init__(self, results: Path, **settings: object) -> None:
        self.results = results
        self.app = create_app(Settings(results=str(results), **settings))
        self.service = self.app.state.service
        self.tokens = {scope: self.service.tokens.create(scope, scope) for scope in ("read", "run", "admin")}

    def client(self, scope: str | None = "admin") -> TestClient:
        headers = {"Authorization": f"Bearer {self.tokens[scope]}"} if scope else {}
        return TestClient(self.app, base_url=URL, headers=headers, follow_redirects=False)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with an ablation of 4 arms x 5 seeds and a search of 40 trials."""
    results = tmp_path_factory.mktemp("results")
    truth = Truth({"model.norm=none": -0.05}, statuses={("norm=none", 1): "failed"})
    write_store(results / "invented", truth=truth, question="Does the norm matter?")
    write_store(results / "search", space={"optimizer.lr": {"loguniform": [0.001, 1.0]}}, name="search", trials=30)
    return results


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(results: Path, **settings: object) -> Site:
        made.append(Site(results, **{"state": tmp_path / f"state{len(made)}", **settings}))
        return made[-1]

    yield make
    for site in made:
        site.service.close()


@pytest.fixture
def site(make_site: Callable[..., Site], stores: Path) -> Site:
    return make_site(stores)
