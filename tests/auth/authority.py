"""A certificate authority of a test's own."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NO_PASSWORD = serialization.NoEncryption()


@dataclass
class Authority:
    """Makes certificates for 127.0.0.1 and localhost in `directory`; `ca` is its own certificate."""

    directory: Path
    name: str = "ca"

    def __post_init__(self):
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        self._name = subject
        certificate = self._builder(subject, self._key.public_key())
        certificate = certificate.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._certificate = certificate.sign(self._key, hashes.SHA256())
        self.ca = self._write(f"{self.name}.pem", self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, password: bytes | None = None) -> tuple[Path, Path]:
        """Files of a certificate chain and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._builder(subject, key.public_key()).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        signed = certificate.sign(self._key, hashes.SHA256())
        encryption = serialization.BestAvailableEncryption(password) if password else _NO_PASSWORD
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        chain = signed.public_bytes(serialization.Encoding.PEM)
        return self._write(f"{name}.pem", chain), self._write(f"{name}.key", pem)

    def _builder(self, subject, public_key):
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    def _write(self, name, data):
        path = self.directory / name
        path.write_bytes(data)
        return path
