"""Manifests signed by a certificate made here."""

from __future__ import annotations

import datetime
import io

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def certificate(subject, public_key, issuer, issuer_key):
    def name(words):
        return x509.Name([x509.NameAttribute(n, words) for n in (
            NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)])  # fmt: skip

    is_root, now = subject == issuer, datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False)  # fmt: skip
    usage |= {"digital_signature": True, "key_cert_sign": is_root, "crl_sign": is_root}
    builder = (
        x509.CertificateBuilder(name(issuer), name(subject), public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(is_root, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .add_extension(x509.KeyUsage(**usage), critical=True)
    )
    if not is_root:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="session")
def signer_info():
    root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = [
        certificate("Test Signer", leaf.public_key(), "Test Root", root),
        certificate("Test Root", root.public_key(), "Test Root", root),
    ]
    key = leaf.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return c2pa.C2paSignerInfo(b"es256", b"".join(map(pem, chain)), key, None)


@pytest.fixture(scope="session")
def sign(signer_info):
    """Put a signed manifest with these actions into an image's bytes."""

    def run(data, mime, *actions, parent=None, embed=True):
        manifest = {
            "claim_generator_info": [{"name": "Test Generator", "version": "1"}],
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": list(actions)}}],
        }
        out = io.BytesIO()
        with c2pa.Signer.from_info(signer_info) as signer, c2pa.Builder(manifest) as builder:
            if parent is not None:
                ingredient = {"relationship": "parentOf", "label": "parent"}
                builder.add_ingredient(ingredient, mime, io.BytesIO(parent))
            if not embed:
                builder.set_no_embed()
                builder.set_remote_url("http://localhost:9/never.c2pa")
            builder.sign(signer, mime, io.BytesIO(data), out)
        return out.getvalue()

    return run
