"""`make bench`, start: a command that fails has no time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.start import _seconds


def test_the_time_of_a_command_that_fails_is_an_error_unless_the_failure_is_measured(tmp_path):
    fails = [sys.executable, "-c", "exit(2)"]
    with pytest.raises(subprocess.CalledProcessError, match="exit status 2"):
        _seconds(fails, tmp_path)
    assert _seconds(fails, tmp_path, is_mistake=True) > 0
