"""Fixtures that start the real counterparts. Everything heavy is imported where it is used."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.testbed import hosts
    from tests.testbed.aisystems.chroma import Chroma
    from tests.testbed.aisystems.cloudflare import CloudflareFake
    from tests.testbed.aisystems.envoy import Envoy
    from tests.testbed.aisystems.install import System
    from tests.testbed.aisystems.langfuse import LangfuseFake
    from tests.testbed.aisystems.langgraph_server import LangGraph
    from tests.testbed.aisystems.langsmith import LangSmithFake
    from tests.testbed.aisystems.phoenix import Phoenix
    from tests.testbed.aisystems.portkey import Portkey
    from tests.testbed.aisystems.portkey_control import PortkeyControlFake
    from tests.testbed.aisystems.qdrant import QdrantFake
    from tests.testbed.clouds.aws import AwsServer
    from tests.testbed.clouds.azure import AzureFake
    from tests.testbed.clouds.gcp import GcpFake
    from tests.testbed.kubernetes import Installation as Kubernetes
    from tests.testbed.kubernetes import NodeCluster, PlaneCluster
    from tests.testbed.litellm import Installation, LiteLLM
    from tests.testbed.postgres import PostgresServer
    from tests.testbed.prometheus import Alertmanager, Prometheus
    from tests.testbed.receiver import Receiver
    from tests.testbed.s3 import S3Server
    from tests.testbed.upstream import Upstreams

pytest_plugins = ["tests.testbed.stores"]

# Other work shares the machine: a slow example is no finding, a slow suite is.
settings.register_profile("default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), max_examples=200, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


# The first test of a session also waits for its counterparts to start.
SLOW_TO_START = {
    *("litellm", "litellm_yaml", "litellm_installation"),
    *("kubernetes_node", "kubernetes_plane", "kubernetes_installation"),
    *("linux_host", "linux_host_installation"),
    *("phoenix", "envoy", "langgraph_server", "chroma", "portkey", "ai_clients"),
}
STARTING_TIMEOUT_S = 600

# Whole files go to one worker: those that take minutes come first, so that no worker is left with one at the end.
LONG = (
    "tests/e2e/",
    "tests/demo/",
    "tests/chaos/",
    "tests/daemon/test_distrust",
    "tests/daemon/test_ground",
    "tests/daemon/test_witnessed",
    "tests/signals/test_wire_litellm_peer",
    "tests/agents/test_no_tail",
    "tests/agents/detector/test_simulated",
    "tests/ledger/test_crash",
    "tests/ledger/archive/test_archive_crash",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
    for item in items:
        if SLOW_TO_START.intersection(getattr(item, "fixturenames", ())) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(STARTING_TIMEOUT_S))


@pytest.fixture(autouse=True)
def logs_kept() -> Iterator[None]:
    """A daemon in the test's own process takes over its logs, with its own level: the next test has them back."""
    before, handlers, level = structlog.get_config(), logging.root.handlers[:], logging.root.level
    yield
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL cluster of this test process."""
    from tests.testbed.postgres import postgres_server as start

    with start() as server:
        yield server


@pytest.fixture
def pg_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database for this test."""
    database = postgres_server.fresh_database()
    yield database.url
    postgres_server.drop_database(database)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server with object lock; make a bucket of your own."""
    from tests.testbed.s3 import s3_server

    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsServer]:
    """The control planes of AWS in one account; make the things that you change."""
    from tests.testbed.clouds.aws import aws_server

    with aws_server(tmp_path_factory.mktemp("aws")) as server:
        yield server


@pytest.fixture(scope="session")
def upstream_pair() -> Iterator[Upstreams]:
    """Two providers that live as long as the proxies that know their addresses."""
    from tests.testbed.upstream import Upstream, Upstreams

    with Upstream("a") as first, Upstream("b") as second:
        yield Upstreams(first, second)


@pytest.fixture
def upstreams(upstream_pair: Upstreams) -> Iterator[Upstreams]:
    """The two providers, healthy and with an empty journal."""
    upstream_pair.reset()
    yield upstream_pair
    upstream_pair.reset()


@pytest.fixture(scope="session")
def litellm_installation() -> Installation:
    """The pinned LiteLLM proxy; built here only where peers are required."""
    from tests.testbed import litellm
    from tests.testbed.peers import peers_required, require_peer

    missing = litellm.missing_tools()
    require_peer(missing is None, missing or "")
    found = litellm.build() if peers_required() else litellm.cached()
    require_peer(found, "the LiteLLM proxy, built once by: python -m tests.testbed.litellm")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def litellm(
    litellm_installation: Installation, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiteLLM]:
    """The proxy with a database. Shared: make your own deployments and keys, under names of your own."""
    from tests.testbed.litellm import LiteLLM

    database = postgres_server.fresh_database()
    with LiteLLM(litellm_installation, directory=tmp_path_factory.mktemp("litellm"), database=database.dsn) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def litellm_yaml(
    litellm_installation: Installation, upstream_pair: Upstreams, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiteLLM]:
    """The proxy without a database: group `yaml-main` on deployment `yaml-a`, at the first of `upstreams`."""
    from tests.testbed.litellm import LiteLLM, yaml_model

    models = [yaml_model("yaml-main", "yaml-a", upstream_pair.first.api_base)]
    with LiteLLM(litellm_installation, directory=tmp_path_factory.mktemp("litellm-yaml"), models=models) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def kubernetes_installation() -> Kubernetes:
    """Kubernetes' own programs; built here only where peers are required."""
    from tests.testbed import kubernetes
    from tests.testbed.kubernetes.packages import missing_to_build
    from tests.testbed.peers import peers_required, require_peer

    found = kubernetes.cached()
    if found is None and peers_required():
        missing = missing_to_build()
        require_peer(missing is None, missing or "")
        found = kubernetes.build()
    require_peer(found, "Kubernetes, built once by: python -m tests.testbed.kubernetes")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def kubernetes_node(
    kubernetes_installation: Kubernetes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeCluster]:
    """A cluster of one real node. Shared: make a namespace of your own."""
    from tests.testbed.kubernetes.node import missing, node_cluster
    from tests.testbed.peers import require_peer

    require_peer(missing() is None, missing() or "")
    with node_cluster(kubernetes_installation, tmp_path_factory.mktemp("kubernetes-node")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kubernetes_plane(
    kubernetes_installation: Kubernetes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PlaneCluster]:
    """A real control plane with three fake nodes. Shared: your own namespace, and nodes left as they were found."""
    from tests.testbed.kubernetes.packages import missing_for_plane
    from tests.testbed.kubernetes.plane import plane_cluster
    from tests.testbed.peers import require_peer

    missing = missing_for_plane()
    require_peer(missing is None, missing or "")
    with plane_cluster(kubernetes_installation, tmp_path_factory.mktemp("kubernetes-plane")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def linux_host_installation() -> hosts.Installation:
    """The root of a Linux host; built here only where peers are required."""
    from tests.testbed import hosts
    from tests.testbed.peers import peers_required, require_peer

    lacking = hosts.missing()
    require_peer(lacking is None, lacking or "")
    found = hosts.cached()
    if found is None and peers_required():
        lacking = hosts.missing_to_build()
        require_peer(lacking is None, lacking or "")
        found = hosts.build()
    require_peer(found, "the root of a Linux host, built once by: python -m tests.testbed.hosts")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def linux_host(
    linux_host_installation: hosts.Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[hosts.LinuxHost]:
    """A Linux host that is up. Shared: `linux_host.reset()` before a test that depends on its state."""
    from tests.testbed import hosts

    with hosts.linux_host(linux_host_installation, tmp_path_factory.mktemp("linux-host")) as host:
        yield host


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A local endpoint for webhooks and scrapes."""
    from tests.testbed.receiver import Receiver

    with Receiver() as running:
        yield running


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Starts a Prometheus with the arguments of its class, less the directory."""
    from tests.testbed.prometheus import Prometheus

    with ExitStack() as running:
        yield lambda **given: running.enter_context(Prometheus(tmp_path / "prometheus", **given))


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Callable[..., Alertmanager]]:
    """Starts an Alertmanager with the arguments of its class, less the directory."""
    from tests.testbed.prometheus import Alertmanager

    with ExitStack() as running:
        yield lambda **given: running.enter_context(Alertmanager(tmp_path / "alertmanager", **given))


@pytest.fixture
def gcp() -> Iterator[GcpFake]:
    """A project of GCP; it may not have answered with anything that the discovery document does not know."""
    from tests.testbed.clouds.gcp import GcpFake

    with GcpFake() as fake:
        yield fake
    assert fake.broken == []


@pytest.fixture
def azure() -> Iterator[AzureFake]:
    """A subscription of Azure; it may not have answered with anything that the SDK's models do not know."""
    from tests.testbed.clouds.azure import AzureFake

    with AzureFake() as fake:
        yield fake
    assert fake.broken == []


def _ai_system(system: System) -> Path:
    """Where it is installed; built here only where peers are required."""
    from tests.testbed.aisystems.install import build, cached
    from tests.testbed.peers import peers_required, require_peer

    missing = system.missing_tools()
    require_peer(missing is None, missing or "")
    found = build(system) if peers_required() else cached(system)
    require_peer(found, f"{system.name}, built once by: python -m tests.testbed.aisystems")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    """Shared: make your own prompts."""
    from tests.testbed.aisystems.install import PHOENIX
    from tests.testbed.aisystems.phoenix import Phoenix

    with Phoenix(_ai_system(PHOENIX), tmp_path_factory.mktemp("phoenix")) as server:
        yield server


@pytest.fixture
def envoy(upstreams: Upstreams, tmp_path: Path) -> Iterator[Envoy]:
    """A proxy of this test before `upstreams`: it starts in a tenth of a second, and has one route."""
    from tests.testbed.aisystems.envoy import Envoy
    from tests.testbed.aisystems.install import ENVOY

    with Envoy(_ai_system(ENVOY), tmp_path, upstreams.first, upstreams.second) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def langgraph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LangGraph]:
    """Shared: make your own runs, schedules and assistants."""
    from tests.testbed.aisystems.install import LANGGRAPH
    from tests.testbed.aisystems.langgraph_server import LangGraph

    with LangGraph(_ai_system(LANGGRAPH), tmp_path_factory.mktemp("langgraph")) as server:
        yield server


@pytest.fixture(scope="session")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chroma]:
    """Shared: make your own collections."""
    from tests.testbed.aisystems.chroma import Chroma
    from tests.testbed.aisystems.install import CHROMA

    with Chroma(_ai_system(CHROMA), tmp_path_factory.mktemp("chroma")) as server:
        yield server


@pytest.fixture(scope="session")
def portkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portkey]:
    """The gateway without a control plane: each call brings its own config."""
    from tests.testbed.aisystems.install import PORTKEY
    from tests.testbed.aisystems.portkey import Portkey

    with Portkey(_ai_system(PORTKEY), tmp_path_factory.mktemp("portkey")) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def ai_clients() -> Path:
    """The Python that has the vendors' own clients."""
    from tests.testbed.aisystems.install import CLIENTS

    return _ai_system(CLIENTS) / "venv/bin/python"


@pytest.fixture
def langfuse() -> Iterator[LangfuseFake]:
    """A project of Langfuse. It may not have broken."""
    from tests.testbed.aisystems.langfuse import LangfuseFake

    with LangfuseFake() as fake:
        yield fake
    assert fake.broken == []


@pytest.fixture
def langsmith() -> Iterator[LangSmithFake]:
    """A workspace of LangSmith. It may not have broken."""
    from tests.testbed.aisystems.langsmith import LangSmithFake

    with LangSmithFake() as fake:
        yield fake
    assert fake.broken == []


@pytest.fixture
def cloudflare() -> Iterator[CloudflareFake]:
    """An account of Cloudflare with AI gateways. It may not have broken."""
    from tests.testbed.aisystems.cloudflare import CloudflareFake

    with CloudflareFake() as fake:
        yield fake
    assert fake.broken == []


@pytest.fixture
def portkey_control() -> Iterator[PortkeyControlFake]:
    """A workspace of Portkey. It may not have broken."""
    from tests.testbed.aisystems.portkey_control import PortkeyControlFake

    with PortkeyControlFake() as fake:
        yield fake
    assert fake.broken == []


@pytest.fixture
def qdrant() -> Iterator[QdrantFake]:
    """A Qdrant cluster of three peers. It may not have broken."""
    from tests.testbed.aisystems.qdrant import QdrantFake

    with QdrantFake() as fake:
        yield fake
    assert fake.broken == []
