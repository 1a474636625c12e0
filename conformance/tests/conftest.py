import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import lathlab  # noqa: E402
from lathlab.lab import Lab  # noqa: E402


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
        log = lath.log.read_text(errors="replace")
        assert "panicked at" not in log, log


@pytest.fixture
def lab(lath):
    """What a test makes on the shared Lath, removed when it ends."""
    with Lab(lath) as lab:
        yield lab


@pytest.fixture(scope="module")
def module_lab(lath):
    """The same for all tests of a file."""
    with Lab(lath) as lab:
        yield lab


@pytest.fixture
def own_lab(own_lath):
    with Lab(own_lath) as lab:
        yield lab


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("SKIPPED: needs root (network namespaces and mounts)")


def pytest_configure(config):
    config.addinivalue_line("markers", "root: needs root on this machine")
