"""One cluster as a test sees it: its address, its credentials, and the official clients that judge what was done to it.

The judge is the real kubectl: another client, in another language, than the one under test. A cluster is shared by the
tests of a session: make a namespace of your own. Objects of the whole cluster need names of your own, and removal.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from uuid import uuid4

import httpx
import yaml
from pydantic import JsonValue

from tests.testbed.kubernetes.install import Installation
from tests.testbed.kubernetes.pki import Credential, write_kubeconfig
from tests.testbed.polling import eventually

Json = dict[str, JsonValue]
_TOOL_TIMEOUT_S = 120


class ToolFailed(AssertionError):
    """kubectl or helm ended with another status than 0."""


class Cluster:
    """`cluster.kubectl("get", "pods", namespace=name)`; every call is bounded in time."""

    def __init__(self, installation: Installation, directory: Path, *, url: str, ca: Path, admin: Credential) -> None:
        self.url = url
        """The API's base URL, reachable from this process and its children."""
        self.ca = ca
        """The certificate that signed the API's own."""
        self.admin = admin
        """A client certificate in `system:masters`: everything is allowed."""
        self.kubeconfig = write_kubeconfig(directory / "admin.kubeconfig", url=url, ca=ca, credential=admin)
        self._installation = installation
        self._directory = directory
        self._numbers = count(1)

    def client(self, token: str | None = None) -> httpx.Client:
        """Plain HTTP to the API: as the administrator, or as the owner of `token`. Close it."""
        context = self.trust()
        if token is not None:
            bearer = {"Authorization": f"Bearer {token}"}
            return httpx.Client(base_url=self.url, verify=context, headers=bearer, trust_env=False, timeout=30)
        context.load_cert_chain(self.admin.certificate, self.admin.key)
        return httpx.Client(base_url=self.url, verify=context, trust_env=False, timeout=30)

    def trust(self) -> ssl.SSLContext:
        """How the API is known, with no credential of ours."""
        return ssl.create_default_context(cafile=str(self.ca))

    def kubectl(
        self,
        *words: str,
        namespace: str | None = None,
        stdin: str | None = None,
        kubeconfig: Path | None = None,
        timeout_s: float = _TOOL_TIMEOUT_S,
    ) -> str:
        """What kubectl prints; fails with its error when it refuses."""
        return _output(
            self.try_kubectl(*words, namespace=namespace, stdin=stdin, kubeconfig=kubeconfig, timeout_s=timeout_s)
        )

    def try_kubectl(
        self,
        *words: str,
        namespace: str | None = None,
        stdin: str | None = None,
        kubeconfig: Path | None = None,
        timeout_s: float = _TOOL_TIMEOUT_S,
    ) -> subprocess.CompletedProcess[str]:
        """kubectl to its end, whatever its status: for what must be refused."""
        command = [str(self._installation.kubectl), *_in(namespace), *words]
        return self._run(command, stdin=stdin, kubeconfig=kubeconfig, timeout_s=timeout_s)

    def helm(self, *words: str, namespace: str | None = None, timeout_s: float = _TOOL_TIMEOUT_S) -> str:
        """What helm prints; fails with its error."""
        command = [str(self._installation.helm), *_in(namespace), *words]
        return _output(self._run(command, stdin=None, kubeconfig=None, timeout_s=timeout_s))

    def get(self, *words: str, namespace: str | None = None) -> Json:
        """`kubectl get ... -o json`, read."""
        found: Json = json.loads(self.kubectl("get", *words, "-o", "json", namespace=namespace))
        return found

    def items(self, *words: str, namespace: str | None = None) -> list[Json]:
        """The objects of a list."""
        found: list[Json] = json.loads(self.kubectl("get", *words, "-o", "json", namespace=namespace))["items"]
        return found

    def apply(self, *manifests: Mapping[str, JsonValue] | str, namespace: str | None = None) -> None:
        """`kubectl apply` of objects, or of YAML texts."""
        texts = [given if isinstance(given, str) else yaml.safe_dump(dict(given)) for given in manifests]
        self.kubectl("apply", "-f", "-", namespace=namespace, stdin="\n---\n".join(texts))

    def fresh_namespace(self, prefix: str = "test") -> str:
        """A namespace of this test alone, once pods can be made in it."""
        name = f"{prefix}-{uuid4().hex[:8]}"
        self.kubectl("create", "namespace", name)
        eventually(
            lambda: self.try_kubectl("get", "serviceaccount", "default", namespace=name).returncode == 0, timeout_s=30
        )
        return name

    def drop_namespace(self, name: str) -> None:
        """Ask for its removal; does not wait for it."""
        self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")

    def service_account(self, name: str, *, namespace: str, rules: Sequence[Mapping[str, Sequence[str]]] = ()) -> str:
        """Make a service account that may do `rules` in its namespace, and give back a token of it."""
        self.kubectl("create", "serviceaccount", name, namespace=namespace)
        if rules:
            role: Json = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}}
            self.apply(
                {**role, "rules": [{field: list(given) for field, given in rule.items()} for rule in rules]},
                namespace=namespace,
            )
            account = f"--serviceaccount={namespace}:{name}"
            self.kubectl("create", "rolebinding", name, f"--role={name}", account, namespace=namespace)
        return self.token(name, namespace=namespace)

    def token(self, account: str, *, namespace: str, duration: str = "1h") -> str:
        """A bound token of a service account, by the API's own TokenRequest."""
        return self.kubectl("create", "token", account, f"--duration={duration}", namespace=namespace).strip()

    def kubeconfig_of(self, token: str) -> Path:
        """A kubeconfig of the owner of `token`."""
        path = self._directory / f"token-{next(self._numbers)}.kubeconfig"
        return write_kubeconfig(path, url=self.url, ca=self.ca, token=token)

    def _run(
        self, command: Sequence[str], *, stdin: str | None, kubeconfig: Path | None, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._directory),
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
        }
        feed = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False, **feed
        )


def _in(namespace: str | None) -> list[str]:
    return [] if namespace is None else [f"--namespace={namespace}"]


def _output(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode != 0:
        words = " ".join(done.args)
        raise ToolFailed(f"{words} ended with status {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout
