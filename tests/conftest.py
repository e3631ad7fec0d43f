import os
import shutil
from pathlib import Path

import pytest

# Nothing may reach a network or a person's own caches; set before anything that reads it is imported.
os.environ.setdefault("MPLBACKEND", "Agg")
# Small matrices on many threads of a busy machine are a hundred times slower than on one.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")


LONG = ("ray", "browser", "slow")
"""Markers of modules that take long, the longest first."""


def pytest_collection_modifyitems(items):
    """Put the modules that take long first: side by side, none of them is left for the end, when one process waits."""
    ranks = {}
    for item in items:
        rank = next((rank for rank, name in enumerate(LONG) if item.get_closest_marker(name)), len(LONG))
        ranks[item.path] = min(rank, ranks.get(item.path, rank))
    items.sort(key=lambda item: ranks[item.path])


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep decoded data and matplotlib's files of the tests apart from the person's own."""
    folder = tmp_path_factory.mktemp("cache")
    before = {name: os.environ.get(name) for name in ("XDG_CACHE_HOME", "TUNE_APP_DATA")}
    os.environ.update(XDG_CACHE_HOME=str(folder), TUNE_APP_DATA=str(folder / "data"))
    yield folder
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture(scope="session")
def local_ray():
    """One small Ray for all tests that need one: 2 CPUs and, in name only, 1 GPU."""
    from tune_app.tuning.session import QUIET

    os.environ.update(QUIET)
    import ray

    scratch = Path("/tmp") / f"tr{os.getpid()}"  # Ray's socket paths must stay short
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _temp_dir=str(scratch),
    )
    yield
    ray.shutdown()
    shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, ended with the module: playwright's event loop would disturb other tests."""
    from tests.support.browser import chromium

    with chromium() as started:
        yield started
