"""The certificates of one test cluster: an authority of its own, valid for a few days, in a folder of its own.

Every key lies unprotected in that folder (mode 0600): good for a cluster that lives as long as a test run, for nothing
else.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = timedelta(days=3)


@dataclass(frozen=True)
class Credential:
    """A certificate and its key, as files in PEM."""

    certificate: Path
    key: Path


class Authority:
    """Makes itself in `directory`, and the key pair that signs the tokens of service accounts."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("watchkeeper-testbed-ca", ())
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        made = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        self.credential = self._write("ca", made.sign(self._key, hashes.SHA256()), self._key)
        signer = ec.generate_private_key(ec.SECP256R1())
        self.token_key = _write_private(directory / "sa.key", _pem(signer))
        public = signer.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.token_public_key = _write_private(directory / "sa.pub", public)

    @property
    def certificate(self) -> Path:
        return self.credential.certificate

    def issue(
        self,
        name: str,
        user: str,
        *,
        groups: Sequence[str] = (),
        addresses: Sequence[str] = (),
        hosts: Sequence[str] = (),
    ) -> Credential:
        """A certificate that logs `user` in as a client, and serves at `addresses` and `hosts`."""
        key = ec.generate_private_key(ec.SECP256R1())
        served: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        served += [x509.DNSName(host) for host in (*hosts, name)]
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = self._builder(_name(user, groups), key).add_extension(usage, critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(served), critical=False)
        return self._write(name, builder.sign(self._key, hashes.SHA256()), key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + _VALID)
        )

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Credential:
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return Credential(
            _write_private(self._directory / f"{name}.crt", pem),
            _write_private(self._directory / f"{name}.key", _pem(key)),
        )


def write_kubeconfig(path: Path, *, url: str, ca: Path, credential: Credential | None = None, token: str = "") -> Path:
    """A self-contained kubeconfig: by certificate, or by the token of a service account."""
    user = {"token": token}
    if credential is not None:
        user = {
            "client-certificate-data": _encoded(credential.certificate),
            "client-key-data": _encoded(credential.key),
        }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testbed",
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "testbed"}}],
        "clusters": [{"name": "testbed", "cluster": {"server": url, "certificate-authority-data": _encoded(ca)}}],
        "users": [{"name": "testbed", "user": user}],
    }
    return _write_private(path, json.dumps(document).encode())  # JSON is YAML


def _name(user: str, groups: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _write_private(path: Path, content: bytes) -> Path:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return path
