"""A Redis Cluster that speaks TLS alone, between its nodes as well."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.topology import STRIPES, TestedCluster
from tests.harness import pages, redis_server
from tests.harness.area import Area
from tests.harness.service import DidNotStart, Service
from tests.strangers.test_transport import make_certificate

OWN_SERVICE = True


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nodes' certificate, its own authority."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "good")[0]


@pytest.fixture(scope="module")
def secure_cluster(certificate: Path) -> Iterator[TestedCluster]:
    """Three masters without a plain port, by the redis-server on PATH: the wheel's does not speak TLS."""
    path = shutil.which("redis-server")
    if path is None:
        pytest.skip("no redis-server on PATH; the one of the wheel does not speak TLS")
    options = {
        "tls_cert_file": str(certificate),
        "tls_key_file": str(certificate.with_suffix(".key")),
        "tls_ca_cert_file": str(certificate),
        "tls_auth_clients": "no",
        "tls_cluster": "yes",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_server, "binary", lambda: path)
        with TestedCluster(**options) as cluster:
            yield cluster


def secure_url(cluster: TestedCluster) -> str:
    """The cluster by one of its nodes."""
    return f"rediss+cluster://127.0.0.1:{cluster.nodes[0].port}"


def sizes(cluster: TestedCluster) -> list[int]:
    """How many keys each node has."""
    found = []
    for node in cluster.nodes:
        with node.client() as client:
            found.append(client.dbsize())
    return found


def test_a_cluster_over_tls(secure_cluster: TestedCluster, on: Callable[..., Service], certificate: Path) -> None:
    """Named by one node and vouched for by its authority, every node is reached, and all have their share of pages."""
    service = on(secure_url(secure_cluster), redis_ca_file=str(certificate))
    area = Area(service, 3)
    offsets = [run * 4096 for run in range(0, STRIPES, 32)]
    empty = sizes(secure_cluster)
    for offset in offsets:
        area.store(offset, pages.incompressible(offset))
    for offset in offsets:
        assert area.load(offset) == pages.incompressible(offset)
    assert all(now > before for now, before in zip(sizes(secure_cluster), empty, strict=True))
    assert service.audit().returncode == 0


@pytest.mark.soak
def test_an_unknown_authority(secure_cluster: TestedCluster, on: Callable[..., Service]) -> None:
    """A cluster whose certificate nobody vouches for is not spoken to, and the reason is said."""
    with pytest.raises(DidNotStart, match=r"(?i)certificate"):
        on(secure_url(secure_cluster), redis_timeout="1")
