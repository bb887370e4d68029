"""Certificates for tests of TLS."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A private CA and one server certificate of it, for an address or a name."""

    def __init__(self, folder: Path, host: str) -> None:
        self.bundle, self.chain, self.key = folder / "ca.pem", folder / "server.pem", folder / "server.key"
        ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the CA of a test")])
        now = datetime.now(UTC)

        def certificate(subject: x509.Name, public: Any, *extensions: x509.ExtensionType) -> bytes:
            builder = x509.CertificateBuilder(ca_name, subject, public, x509.random_serial_number())
            builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
            for extension in extensions:
                builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

        try:
            named: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            named = x509.DNSName(host)
        identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
        self.bundle.write_bytes(
            certificate(ca_name, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=None), identifier)
        )
        self.chain.write_bytes(
            certificate(
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "endpoint")]),
                key.public_key(),
                x509.SubjectAlternativeName([named]),
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            )
        )
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
