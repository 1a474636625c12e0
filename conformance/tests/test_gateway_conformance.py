"""A part of upstream's conformance suite of the Gateway API; `./x conformance gateway` runs all of it."""

import pytest
from lathlab import Dead, gateway_suite as suite

pytestmark = pytest.mark.root

# From each profile what has most behind it: hostnames, certificates of Secrets, grants, weights, the order of matches.
TESTS = (
    "GatewayModifyListeners", "GatewaySecretReferenceGrantSpecific", "HTTPRouteSimpleSameNamespace", "HTTPRouteMatchingAcrossRoutes",
    "HTTPRouteHostnameIntersection", "HTTPRouteHTTPSListener", "HTTPRoutePartiallyInvalidViaInvalidReferenceGrant", "HTTPRouteWeight",
    "HTTPRouteQueryParamMatching", "HTTPRouteBackendProtocolWebSocket", "GRPCExactMethodMatching", "TLSRouteSimpleSameNamespace",
    "GatewayFrontendClientCertificateValidation", "BackendTLSPolicy", "GatewayTLSBackendClientCertificate",
    "ListenerSetHTTPRouting", "TCPRouteWeightedRouting",
)


def test_upstreams_suite(kubernetes, tmp_path):
    try:
        programs, images = suite.prepared(kubernetes)
    except Dead as reason:
        pytest.skip(f"SKIPPED: {reason}")
    features = []
    with kubernetes.lath("--extended", archives=images) as lath:
        if not suite.has_entrances(lath):
            pytest.skip("SKIPPED: this Lath gives Gateways no address")
        cluster = suite.Suite(kubernetes, lath, tmp_path, programs)
        try:
            features = cluster.features()
            outcomes = cluster.run(tests=TESTS, patience=600)
            failed = "\n\n".join(f"{name}:\n{cluster.words_of(name)[-3000:]}" for name in sorted(outcomes["FAIL"]))
            assert set(outcomes["PASS"]) == set(TESTS), failed or cluster.log.read_text()[-4000:]
        finally:
            if cluster.controller.poll() is None:
                cluster.end("kill")
        assert lath.stop() == 0, lath.tail()
    assert {"Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "ReferenceGrant"} <= set(features)
