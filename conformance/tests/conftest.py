import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import lathlab  # noqa: E402


@pytest.fixture(scope="session")
def lath():
    """A Lath that most tests share. What a test makes, it makes under names of its own."""
    with lathlab.Lath() as lath:
        yield lath
        log = lath.log.read_text(errors="replace")
        assert "panicked at" not in log, log


@pytest.fixture
def own_lath():
    """A Lath that a test may kill."""
    with lathlab.Lath() as lath:
        yield lath


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("SKIPPED: needs root (network namespaces and mounts)")


def pytest_configure(config):
    config.addinivalue_line("markers", "root: needs root on this machine")
