"""One real Kubernetes node on this machine: containerd, kubelet and kube-proxy in name spaces of their own.

The control plane runs beside the test, at the machine's end of a link into the node's network: the API is reachable
from the test, from its children and from every pod, and nothing has to be forwarded. Pods reach each other, services
and the API; they do NOT reach the internet, no name is resolved (there is no cluster DNS), and no image is pulled from
anywhere: load them. Needs root, and control groups of version 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from tests.testbed.keeper import hierarchies
from tests.testbed.kubernetes.cluster import Cluster
from tests.testbed.kubernetes.fakes import is_ready
from tests.testbed.kubernetes.images import PAUSE, Image, busybox, pause, write_image
from tests.testbed.kubernetes.inside import SHADOWED
from tests.testbed.kubernetes.install import Installation
from tests.testbed.kubernetes.packages import SYSTEM_PATH, missing_for_node, program
from tests.testbed.kubernetes.pki import Authority, write_kubeconfig
from tests.testbed.kubernetes.plane import ControlPlane, control_plane, flag_words
from tests.testbed.namespaces import Place, name_spaces
from tests.testbed.process import ChildProcess

NODE = "node-1"
_PODS = "10.88.0.0/24"
_API_PORT = 6443
_CLUSTER_DNS = "10.96.0.10"
_READY_WITHIN_S = 120
_LOAD_WITHIN_S = 300
_GROUPS = {"cpu", "cpuset", "devices", "freezer", "memory", "pids"}


class NodeCluster(Cluster):
    """A cluster of one real node."""

    def __init__(self, installation: Installation, directory: Path, plane: ControlPlane, place: Place) -> None:
        authority = plane.authority
        super().__init__(installation, directory, url=plane.url, ca=authority.certificate, admin=plane.admin)
        self.node = NODE
        self.node_address = place.node
        """Where the test reaches the node's ports, those of `NodePort` services too."""
        self.socket = _socket(place)
        """Where containerd answers, with containers that kubectl does not show."""

    def load(self, archive: Path) -> None:
        """Give the node the images of an archive, under the names that they have in it."""
        command = [program("ctr"), "--address", str(self.socket), "--namespace", "k8s.io", "images", "import"]
        done = subprocess.run(
            [*command, str(archive)], capture_output=True, text=True, timeout=_LOAD_WITHIN_S, check=False
        )
        assert done.returncode == 0, f"{archive} cannot be loaded:\n{done.stderr}"

    def make_image(self, image: Image) -> str:
        """Make an image and give it to the node; answers the name it has there."""
        with tempfile.TemporaryDirectory() as folder:
            self.load(write_image(image, Path(folder) / "image.tar"))
        return image.reference


def missing() -> str | None:
    """Why no real node can run here."""
    if os.geteuid() != 0:
        return "root, who alone may make the name spaces of a Kubernetes node: run the tests as root"
    lacking = missing_for_node()
    if lacking is not None:
        return lacking
    groups = _GROUPS - {path.name for path in hierarchies("cgroup")}
    if groups:
        return f"control groups of version 1 ({', '.join(sorted(groups))}), which Kubernetes 1.20 asks for"
    return None


@contextmanager
def node_cluster(installation: Installation, directory: Path) -> Iterator[NodeCluster]:
    """Start the node and its control plane; logs stay in `directory`, all else goes."""
    for needed in (installation.directory, Path(tempfile.gettempdir()).resolve(), directory.resolve()):
        hidden = [place for place in SHADOWED if needed.is_relative_to(place)]
        assert not hidden, f"{needed} cannot be seen from inside a node, which has a {hidden[0]} of its own: move it"
    with ExitStack() as running:
        script = Path(__file__).with_name("inside.py")
        place, _ = running.enter_context(name_spaces(script, log=directory / "keeper.log", prefix="wk-node-"))
        containerd = running.enter_context(_containerd(place, directory / "containerd.log"))
        plane = running.enter_context(control_plane(installation, directory, address=place.host, port=_API_PORT))
        containerd.wait_until(_socket(place).exists, timeout_s=_READY_WITHIN_S, what="socket")
        cluster = NodeCluster(installation, directory, plane, place)
        cluster.make_image(pause(installation.pause))
        cluster.make_image(busybox())
        kubelet = running.enter_context(_kubelet(installation, place, plane, directory / "kubelet.log"))
        running.enter_context(_proxy(installation, place, plane, directory / "proxy.log"))
        with cluster.client() as client:

            def ready() -> bool:
                reply = client.get(f"/api/v1/nodes/{NODE}")
                return reply.is_success and is_ready(reply.json())

            kubelet.wait_until(ready, timeout_s=_READY_WITHIN_S, what="ready node")
        yield cluster


def _socket(place: Place) -> Path:
    return place.folder / "containerd.sock"


def _child(place: Place, name: str, command: list[str], *, log: Path) -> ChildProcess:
    """A process inside; it ends with us, and with the name spaces."""
    # A kubelet looks for credentials of AWS, and would wait six seconds for a machine of AWS to answer.
    environment = {"PATH": SYSTEM_PATH, "HOME": str(place.folder), "AWS_EC2_METADATA_DISABLED": "true"}
    return ChildProcess(name, [*place.enter(), *command], log=log, env=environment)


def _containerd(place: Place, log: Path) -> ChildProcess:
    network = place.folder / "cni"
    network.mkdir()
    bridge = {
        "type": "bridge",
        "bridge": "k8s0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": _PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    conflist = {"cniVersion": "0.4.0", "name": "testbed", "plugins": plugins}
    (network / "10-testbed.conflist").write_text(json.dumps(conflist))
    config = place.folder / "containerd.toml"
    config.write_text(f"""version = 2
root = "{place.folder}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "{_socket(place)}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{network}"
""")
    return _child(place, "containerd", [program("containerd"), "--config", str(config)], log=log)


def _kubelet(installation: Installation, place: Place, plane: ControlPlane, log: Path) -> ChildProcess:
    identity = plane.authority.issue(
        "kubelet", f"system:node:{NODE}", groups=["system:nodes"], addresses=[place.node], hosts=[NODE]
    )
    root = place.folder / "kubelet"
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": place.node,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "x509": {"clientCAFile": str(plane.authority.certificate)},
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.group}",
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "resolvConf": "",
        "clusterDNS": [_CLUSTER_DNS],
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        # Its own defaults are meant for thousands of nodes; a test waits for each status.
        "nodeStatusUpdateFrequency": "1s",
        "kubeAPIQPS": 50,
        "kubeAPIBurst": 100,
        "eventRecordQPS": 50,
        "tlsCertFile": str(identity.certificate),
        "tlsPrivateKeyFile": str(identity.key),
        "volumePluginDir": str(root / "plugins"),
    }
    config = place.folder / "kubelet.yaml"
    config.write_text(yaml.safe_dump(settings))
    flags = {
        "config": config,
        "kubeconfig": _kubeconfig(place, plane, "kubelet", f"system:node:{NODE}", "system:nodes"),
        "root-dir": root,
        "cert-dir": root / "pki",
        "container-runtime": "remote",
        "container-runtime-endpoint": f"unix://{_socket(place)}",
        "hostname-override": NODE,
        "node-ip": place.node,
        "v": 1,
    }
    return _child(place, "kubelet", [str(installation.program("kubelet")), *flag_words(flags)], log=log)


def _proxy(installation: Installation, place: Place, plane: ControlPlane, log: Path) -> ChildProcess:
    flags = {
        "kubeconfig": _kubeconfig(place, plane, "kube-proxy", "system:kube-proxy"),
        "proxy-mode": "iptables",
        "cluster-cidr": _PODS,
        "hostname-override": NODE,
        # These settings belong to the whole machine.
        "conntrack-max-per-core": 0,
        "conntrack-tcp-timeout-established": 0,
        "conntrack-tcp-timeout-close-wait": 0,
    }
    return _child(place, "kube-proxy", [str(installation.program("kube-proxy")), *flag_words(flags)], log=log)


def _kubeconfig(place: Place, plane: ControlPlane, name: str, user: str, *groups: str) -> Path:
    authority: Authority = plane.authority
    credential = authority.issue(f"{name}-client", user, groups=groups)
    path = place.folder / f"{name}.kubeconfig"
    return write_kubeconfig(path, url=plane.url, ca=authority.certificate, credential=credential)
