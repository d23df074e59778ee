"""Create the secrets that compose and Kubernetes mount: `python infra/make_secrets.py [--rotate NAME ...]`.

Writes the missing files of infra/secrets (or --folder): random text, and for Dask's TLS a certificate signed by a
private certificate authority. Existing files are kept; --rotate replaces a file and keeps the old text in NAME.old
until the next rotation, since some servers need the old password to set a new one (docs/operations.md).

The folder has mode 0700, so only its owner reaches the files on the host; the files have mode 0444, so any user of a
container can read the ones mounted there.
"""

import argparse
import secrets
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

CERTIFICATE_DAYS = 825
DASK_FILES = ("dask_ca.pem", "dask_cert.pem", "dask_key.pem")


def _password() -> str:
    return secrets.token_urlsafe(32)


SECRETS: dict[str, Callable[[], str]] = {
    "postgres_password": _password,
    "mlflow_db_password": _password,
    "prefect_db_password": _password,
    "mlflow_admin_password": _password,
    "mlflow_pipeline_password": _password,
    "mlflow_flask_key": lambda: secrets.token_hex(32),
    "prefect_auth": lambda: f"admin:{_password()}",
    "store_access_key": lambda: secrets.token_hex(10),
    "store_secret_key": _password,
}
NAMES = (*SECRETS, *DASK_FILES)
YOURS = ("git_credentials",)  # created empty; for a private repository: https://user:token@host (Kubernetes only)


def make_secrets(folder: Path, rotate: tuple[str, ...] = ()) -> list[str]:
    """Write the missing and the rotated secrets under `folder`; returns the names written.

    The three Dask files belong together: if one is missing or rotated, all three are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    due = [name for name in NAMES if name in rotate or not (folder / name).exists()]
    written = {name: SECRETS[name]() for name in due if name in SECRETS}
    if any(name in due for name in DASK_FILES):
        written.update(zip(DASK_FILES, dask_certificates(), strict=True))
    written.update({name: "" for name in YOURS if not (folder / name).exists()})
    for name, text in written.items():
        _write(folder / name, text)
    return list(written)


def _write(path: Path, text: str) -> None:
    """Write in place: a container that has the file mounted would not see a renamed one."""
    if path.exists():
        old = path.with_name(f"{path.name}.old")
        old.unlink(missing_ok=True)
        old.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        old.chmod(0o444)
        path.chmod(0o600)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o444)


def dask_certificates() -> tuple[str, str, str]:
    """A new authority, whose key is discarded, and one certificate: the PEM texts of (ca, certificate, key)."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError:
        sys.exit("make_secrets: Dask's certificates need a package: pip install -c constraints.txt cryptography")

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def signed(subject: str, public_key: ec.EllipticCurvePublicKey, authority: bool) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named("foundry dask authority"))
        builder = builder.public_key(public_key).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(minutes=5))
        builder = builder.not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        constraint = x509.BasicConstraints(ca=authority, path_length=None)
        return builder.add_extension(constraint, critical=True).sign(authority_key, hashes.SHA256())

    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    authority = signed("foundry dask authority", authority_key.public_key(), authority=True)
    certificate = signed("foundry dask", key.public_key(), authority=False)
    return authority.public_bytes(pem).decode(), certificate.public_bytes(pem).decode(), private.decode()


def main() -> None:
    """Command line; prints the names of the files, never their contents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "secrets")
    parser.add_argument("--rotate", nargs="+", default=[], choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    options = parser.parse_args()
    written = make_secrets(options.folder, tuple(options.rotate))
    print(f"{options.folder}: {'wrote ' + ', '.join(written) if written else 'nothing to do, all secrets exist'}")


if __name__ == "__main__":
    main()
