import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import lathlab  # noqa: E402
import lathlab.kubernetes  # noqa: E402
from lathlab import calls  # noqa: E402
from lathlab.lab import Lab  # noqa: E402


def watched(*flags):
    """A Lath of which no thread has panicked when it ends."""
    with lathlab.Lath(*flags) as lath:
        yield lath
        log = lath.log.read_text(errors="replace")
        assert "panicked at" not in log, log


@pytest.fixture(scope="session")
def lath():
    """A Lath that most tests share. What a test makes, it makes under names of its own."""
    yield from watched()


@pytest.fixture
def own_lath():
    """A Lath that a test may kill."""
    yield from watched()


@pytest.fixture
def lab(lath):
    """What a test makes on the shared Lath, removed when it ends."""
    with Lab(lath) as lab:
        yield lab


@pytest.fixture(scope="module")
def extended():
    """A Lath with extensions that the tests of a file share."""
    yield from watched("--extended")


@pytest.fixture
def tried(extended):
    """What a test makes on the Lath with extensions, removed when it ends."""
    with Lab(extended) as lab:
        yield lab


@pytest.fixture(scope="module")
def module_lab(lath):
    """The same for all tests of a file."""
    with Lab(lath) as lab:
        yield lab


@pytest.fixture(scope="session")
def kubernetes():
    """The programs and images of clusters."""
    try:
        return lathlab.kubernetes.prepared()
    except lathlab.Dead as reason:
        pytest.skip(f"SKIPPED: {reason}")


@pytest.fixture
def own_lab(own_lath):
    with Lab(own_lath) as lab:
        yield lab


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("SKIPPED: needs root (network namespaces and mounts)")


# How long a test may take, with its fixtures, in seconds: one that waits for ever would take the time of all others.
PATIENCE = 2400


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    def give_up(_signal, _frame):
        raise TimeoutError(f"{item.nodeid} has not ended after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Progress:
    """Says each failure and each slow test when it ends, and ends a run that is out of time, so that a run which something
    else cuts off has said what it knew. LATH_TEST_UNTIL is when that is, in seconds since 1970."""

    def __init__(self, reporter):
        self.reporter = reporter
        self.until = float(os.environ.get("LATH_TEST_UNTIL") or "inf")

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report):
        at = time.strftime("%H:%M:%S")
        if report.failed:
            crash = str(getattr(report.longrepr, "reprcrash", None) or report.longrepr)[:500]
            self.reporter.write_line(f"\n{at} {report.when} of {report.nodeid} failed after {report.duration:.0f} s: {crash}")
        elif report.duration > 45:
            self.reporter.write_line(f"\n{at} {report.when} of {report.nodeid} took {report.duration:.0f} s")
        if time.time() > self.until:
            self.until = float("inf")
            pytest.exit("the tests are out of time", returncode=pytest.ExitCode.TESTS_FAILED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test's report has what the Laths that run then complain of."""
    report = yield
    if report.failed:
        for lath in list(lathlab.RUNNING):
            if complaints := lath.complaints():
                report.sections.append((f"complaints of {lath.directory}", complaints))
    return report


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """The last lines of a run are its failures with what Lath said: a log that is cut keeps its end."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return
    for report in [*reporter.stats.get("failed", []), *reporter.stats.get("error", [])][:5]:
        print(f"\n{report.nodeid}: {str(getattr(report.longrepr, 'reprcrash', None) or '')[:1000]}")
        for title, text in report.sections:
            if title.startswith("complaints"):
                print(f"-- {title}\n{text[-2500:]}")


# What succeeded in all workers; whether tests were left out; what is wrong with what succeeded.
SEEN, PARTIAL, FAULTS = pytest.StashKey[set](), pytest.StashKey[bool](), pytest.StashKey[list]()


def pytest_deselected(items):
    if items:
        items[0].config.stash[PARTIAL] = True


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """A worker has ended: xdist brings what it has seen."""
    node.config.stash[SEEN].update(getattr(node, "workeroutput", {}).get("succeeded", ()))


def pytest_sessionfinish(session, exitstatus):
    """When all tests have run and passed, each operation that Lath serves has succeeded in one of them, or is excepted.
    What lacks a success is listed; with LATH_REQUIRE_SUCCESSES it fails the run."""
    config = session.config
    config.stash[SEEN].update(calls.succeeded())
    if hasattr(config, "workeroutput"):
        config.workeroutput["succeeded"] = sorted(config.stash[SEEN])
        return
    if listing := os.environ.get("LATH_SUCCEEDED"):
        pathlib.Path(listing).write_text("".join(f"{name}\n" for name in sorted(config.stash[SEEN])))
    tests = pathlib.Path(__file__).parent
    everything = [pathlib.Path(argument).resolve() for argument in config.args] == [tests]
    if exitstatus or not everything or config.stash.get(PARTIAL, False) or os.geteuid() != 0:
        return
    faults = config.stash.setdefault(FAULTS, calls.faults(config.stash[SEEN]))
    if faults and os.environ.get("LATH_REQUIRE_SUCCESSES"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if faults := config.stash.get(FAULTS, []):
        terminalreporter.section("operations without a successful call")
        for fault in faults:
            terminalreporter.line(fault)


# The files that take the longest, longest first: side by side, what is begun last decides when all of it ends.
LONGEST = ["test_kubernetes.py", "test_global.py", "test_terraform.py", "test_recipe.py", "test_cluster_drills.py",
           "test_gateway_conformance.py", "test_kubernetes_deaths.py", "test_gateway_controller.py", "test_self_managed.py",
           "test_examples.py", "test_gateway_webhook.py", "test_cluster_services.py", "test_gateway_rollout.py", "test_pod_identity.py",
           "test_gateway_clusters.py", "test_gateway_kinds.py", "test_failover.py", "test_drill.py", "test_cells.py", "test_data_plane.py"]


def pytest_collection_modifyitems(items):
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


def pytest_configure(config):
    config.addinivalue_line("markers", "root: needs root on this machine")
    config.stash[SEEN] = set()
    calls.watch()
    if os.environ.get("PYTEST_XDIST_WORKER") and os.geteuid() == 0:
        enter_own_network()


def pytest_sessionstart(session):
    plugins = session.config.pluginmanager
    if (reporter := plugins.get_plugin("terminalreporter")) and not hasattr(session.config, "workerinput"):
        plugins.register(Progress(reporter))


def enter_own_network():
    """Moves this worker and all that it starts into a network namespace with only loopback.

    Laths that run side by side would otherwise share the host's addresses, links and firewall, and a Lath of several
    regions needs 198.18.0.0/15 for itself. The namespace vanishes with the last process in it.
    """
    clone_newnet = 0x40000000
    if ctypes.CDLL(None, use_errno=True).unshare(clone_newnet):
        raise OSError(ctypes.get_errno(), "cannot give a test worker a network namespace of its own")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
