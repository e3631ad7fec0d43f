import sys

import pytest


@pytest.fixture(autouse=True)
def own_modules_are_forgotten():
    """Forget the packages that a test wrote, so that the next test imports its own."""
    path = sys.path[:]
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.split(".")[0] == "own_pkg"]:
        del sys.modules[name]
