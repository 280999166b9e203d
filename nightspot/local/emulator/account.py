"""An emulated AWS account for as long as it is wanted: ministack as a process of its own, on loopback alone."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import secrets
import shlex
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from ssl import create_default_context
from typing import Any
from urllib.error import URLError

import boto3
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ACCOUNT_ID = "123456789012"
ACCESS_KEY = "AKIANIGHTSPOTLOCAL00"  # of its root user, and of no account anywhere
IN_MINISTACK = Path(__file__).with_name("in_ministack.py")
START_SECONDS = 60.0
STOP_SECONDS = 2.0  # there is nothing to save
LAST_LINES = 20  # of its log, where it does not start
_POLL_SECONDS = 0.1
# All that the emulator and its functions get of the surrounding shell's.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL")


class EmulatorError(Exception):
    """The emulator cannot be installed or started; the text says why."""


@dataclass(frozen=True)
class EmulatedAccount:
    """Where an emulated account is. Everything in it is lost when it ends."""

    url: str  # of all its services; with a name, since the CDK command line misreads addresses
    region: str
    certificate: Path  # which its TLS is to be trusted by
    log: Path
    # New each time: whoever may make functions there runs code as the user of this machine.
    secret_key: str = field(repr=False)

    def environment(self) -> dict[str, str]:
        """What every AWS SDK and the CDK command line need to come here, as the account's root user."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            # boto3 would put a bucket's name before a host name, and no resolver knows bucket.localhost.
            "AWS_ENDPOINT_URL_S3": self.address,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_CA_BUNDLE": str(self.certificate),
            "NODE_EXTRA_CA_CERTS": str(self.certificate),
        }

    @property
    def address(self) -> str:
        """The same place, by its address."""
        return self.url.replace("localhost", "127.0.0.1")

    def client(self, service: str) -> Any:
        """boto3's client for a service here, as the root user."""
        return boto3.client(
            service,
            region_name=self.region,
            endpoint_url=self.address,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=self.secret_key,
            verify=str(self.certificate),
            config=Config(retries={"mode": "standard", "total_max_attempts": 3}, read_timeout=30),
        )


@contextmanager
def emulated_account(
    python: Path,
    scratch: Path,
    *,
    port: int,
    sagemaker_url: str,
    region: str = "eu-west-1",
    functions_url: str | None = None,
    certificate: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[EmulatedAccount]:
    """Inside: the account is there, empty, with IAM enforced. Afterwards no process of it is left.

    `python` is that of an environment with ministack and awslambdaric. `scratch` gets its log, its certificate and
    what functions unpack. `functions_url` is where functions find AWS, for a proxy that stands before the account;
    the account itself by default. `settings` are ministack's own variables. Raises EmulatorError.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    temporary = scratch / "tmp"
    temporary.mkdir(exist_ok=True)
    trusted = certificate or make_certificate(scratch)
    log, secret_key = scratch / "emulator.log", secrets.token_urlsafe(24)
    url = f"https://localhost:{port}"
    address = f"https://127.0.0.1:{port}"
    environment = {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
        "MINISTACK_REGION": region,
        "AUTH": "true",
        "USE_SSL": "1",
        "MINISTACK_SSL_CERT": str(trusted),
        "MINISTACK_SSL_KEY": str(trusted.with_suffix(".key")),
        # Services that would listen on ports of their own, on all interfaces; and nothing outlives the process.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "0",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ENDPOINT_URL": functions_url or address,
        "AWS_CA_BUNDLE": str(trusted),
        "NIGHTSPOT_SAGEMAKER_URL": sagemaker_url,
        "TMPDIR": str(temporary),
        "LOG_LEVEL": "INFO",
        "PYTHONUNBUFFERED": "1",
        **(settings or {}),
    }
    with log.open("ab") as output, _said_by_the_system(python):
        process = subprocess.Popen(  # noqa: S603 - our own command
            [str(python), str(IN_MINISTACK)],
            env=environment,
            cwd=temporary,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A group of its own: its functions are its children, and end with it. Ctrl-C is ours to pass on.
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, f"{address}/_ministack/health", trusted, log)
        yield EmulatedAccount(url, region, trusted, log, secret_key)
    finally:
        _end(process)


@contextmanager
def _said_by_the_system(python: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmulatorError(f"{python}: cannot be started: {error.strerror or error}") from error


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, trusted: Path, log: Path) -> None:
    context = create_default_context(cafile=str(trusted))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(URLError, OSError), urllib.request.urlopen(url, timeout=5, context=context):  # noqa: S310
            return
        time.sleep(_POLL_SECONDS)
    ended = process.poll()
    what = f"took longer than {START_SECONDS:g} s" if ended is None else f"ended with status {ended}"
    last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:])
    raise EmulatorError(f"the emulator's start {what}: {last}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and everything that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def make_certificate(folder: Path) -> Path:
    """A certificate of this machine's loopback for a week, `emulator.pem`, with its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nightspot local aws")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("localhost"),
            # API Gateway's addresses, by their first part
            x509.DNSName("*.execute-api.localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate = folder / "emulator.pem"
    secret = certificate.with_suffix(".key")
    secret.touch(mode=0o600)
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return certificate


def exports(environment: Mapping[str, str]) -> str:
    """The lines that give a shell these variables."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())
