"""A real control plane: etcd, API server, controller manager and scheduler, as child processes of the test.

Everything else builds on it: a real node (node.py) or fake ones (fakes.py). etcd does not wait for the disk, and there
is one of each: what the loss of a machine does to Kubernetes itself is NOT shown.
"""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.testbed.kubernetes.cluster import Cluster
from tests.testbed.kubernetes.fakes import fake_nodes
from tests.testbed.kubernetes.install import Installation
from tests.testbed.kubernetes.packages import program
from tests.testbed.kubernetes.pki import Authority, Credential, write_kubeconfig
from tests.testbed.ports import LOOPBACK, free_port
from tests.testbed.process import ChildProcess, ProcessDied

NODES = ("fake-1", "fake-2", "fake-3")
SERVICES = "10.96.0.0/16"
_API_SERVICE = "10.96.0.1"
_ATTEMPTS = 3
_READY_WITHIN_S = 120


@dataclass(frozen=True)
class ControlPlane:
    """Where a running control plane is, and who may sign for it."""

    url: str
    authority: Authority
    admin: Credential


@contextmanager
def control_plane(
    installation: Installation, directory: Path, *, address: str = LOOPBACK, port: int | None = None
) -> Iterator[ControlPlane]:
    """Serve the API at `address`; tries other ports when those it chose were taken meanwhile."""
    authority = Authority(directory / "pki")
    for attempt in range(1, _ATTEMPTS + 1):
        with ExitStack() as running:
            try:
                plane = _start(installation, directory / f"plane-{attempt}", authority, address, port, running)
            except ProcessDied:
                if attempt == _ATTEMPTS:
                    raise
                continue
            yield plane
            return


class PlaneCluster(Cluster):
    """A control plane with fake nodes."""

    def __init__(
        self, installation: Installation, directory: Path, plane: ControlPlane, nodes: tuple[str, ...]
    ) -> None:
        super().__init__(installation, directory, url=plane.url, ca=plane.authority.certificate, admin=plane.admin)
        self.nodes = nodes


@contextmanager
def plane_cluster(
    installation: Installation, directory: Path, *, nodes: tuple[str, ...] = NODES
) -> Iterator[PlaneCluster]:
    """Start a control plane and fake nodes of these names, all ready."""
    with control_plane(installation, directory) as plane:
        cluster = PlaneCluster(installation, directory, plane, nodes)
        with fake_nodes(cluster, nodes, log=directory / "fakes.log"):
            yield cluster


def _start(
    installation: Installation,
    directory: Path,
    authority: Authority,
    address: str,
    port: int | None,
    running: ExitStack,
) -> ControlPlane:
    directory.mkdir()
    port = port or free_port()
    url = f"https://{address}:{port}"
    admin = authority.issue("admin", "admin", groups=["system:masters"])
    etcd_url = f"http://{LOOPBACK}:{free_port()}"
    running.callback(shutil.rmtree, directory / "etcd", ignore_errors=True)  # the logs stay, 100 MB of data need not
    etcd = running.enter_context(_etcd(directory, etcd_url))
    command = [str(installation.program("kube-apiserver")), *_api_flags(authority, address, port, etcd_url)]
    api = running.enter_context(ChildProcess("kube-apiserver", command, log=directory / "apiserver.log"))
    _wait_until_ready(etcd, api, url, authority, admin)
    running.enter_context(_controller_manager(installation, directory, authority, url))
    running.enter_context(_scheduler(installation, directory, authority, url))
    return ControlPlane(url, authority, admin)


def _etcd(directory: Path, url: str) -> ChildProcess:
    peer = f"http://{LOOPBACK}:{free_port()}"
    flags = {
        "data-dir": directory / "etcd",
        "unsafe-no-fsync": "true",
        "listen-client-urls": url,
        "advertise-client-urls": url,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "logger": "zap",
    }
    return ChildProcess("etcd", [program("etcd"), *flag_words(flags)], log=directory / "etcd.log")


def _api_flags(authority: Authority, address: str, port: int, etcd_url: str) -> list[str]:
    hosts = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    serving = authority.issue("apiserver", "kube-apiserver", addresses=[LOOPBACK, address, _API_SERVICE], hosts=hosts)
    to_kubelet = authority.issue("apiserver-kubelet", "kube-apiserver-kubelet-client", groups=["system:masters"])
    flags = {
        "etcd-servers": etcd_url,
        "bind-address": address,
        "advertise-address": address,
        "secure-port": port,
        "insecure-port": 0,
        "tls-cert-file": serving.certificate,
        "tls-private-key-file": serving.key,
        "client-ca-file": authority.certificate,
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": authority.token_public_key,
        "service-account-signing-key-file": authority.token_key,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "service-cluster-ip-range": SERVICES,
        "allow-privileged": "true",
        "kubelet-client-certificate": to_kubelet.certificate,
        "kubelet-client-key": to_kubelet.key,
        "kubelet-certificate-authority": authority.certificate,
        "kubelet-preferred-address-types": "InternalIP",
        "profiling": "false",
        "v": 1,
    }
    if address == LOOPBACK:
        flags["endpoint-reconciler-type"] = "none"  # an endpoint on loopback is refused, and no pod runs to use it
    return flag_words(flags)


def _controller_manager(installation: Installation, directory: Path, authority: Authority, url: str) -> ChildProcess:
    flags = {
        "kubeconfig": _component(directory, authority, url, "kube-controller-manager"),
        "leader-elect": "false",
        "port": 0,
        "secure-port": 0,
        "service-account-private-key-file": authority.token_key,
        "root-ca-file": authority.certificate,
        "use-service-account-credentials": "true",
        "cluster-signing-cert-file": authority.certificate,
        "cluster-signing-key-file": authority.credential.key,
        "node-monitor-period": "1s",
        "node-monitor-grace-period": "16s",
        "pod-eviction-timeout": "5s",
        "controllers": "*,-ttl,-cloud-node-lifecycle,-route,-service",
    }
    command = [str(installation.program("kube-controller-manager")), *flag_words(flags)]
    return ChildProcess("kube-controller-manager", command, log=directory / "controller-manager.log")


def _scheduler(installation: Installation, directory: Path, authority: Authority, url: str) -> ChildProcess:
    config = _component(directory, authority, url, "kube-scheduler")
    flags = {"kubeconfig": config, "leader-elect": "false", "port": 0, "secure-port": 0}
    command = [str(installation.program("kube-scheduler")), *flag_words(flags)]
    return ChildProcess("kube-scheduler", command, log=directory / "scheduler.log")


def _component(directory: Path, authority: Authority, url: str, name: str) -> Path:
    credential = authority.issue(name, f"system:{name}")
    return write_kubeconfig(directory / f"{name}.kubeconfig", url=url, ca=authority.certificate, credential=credential)


def _wait_until_ready(etcd: ChildProcess, api: ChildProcess, url: str, authority: Authority, admin: Credential) -> None:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(admin.certificate, admin.key)
    with httpx.Client(verify=context, trust_env=False, timeout=2) as client:

        def ready() -> bool:
            if not etcd.running:
                raise ProcessDied(f"etcd ended before the API was ready:\n{etcd.log_tail()}")
            try:
                return client.get(f"{url}/readyz").is_success
            except httpx.TransportError:
                return False

        api.wait_until(ready, timeout_s=_READY_WITHIN_S, what="ready API")


def flag_words(flags: Mapping[str, object]) -> list[str]:
    """Flags as Go programs read them."""
    return [f"--{name}={value}" for name, value in flags.items()]
