"""Other people's servers as origins."""

import shutil
import socket
from pathlib import Path

from .ports import free_port
from .processes import Program
from .waiting import until


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Nginx(Program):
    """nginx that answers every request with 200 and notes its request lines."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.notes = folder / "access.log"
        file = folder / "nginx.conf"
        temporary = "".join(
            f"    {kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file.write_text(
            f"""daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
{temporary}    log_format line escape=json '$request';
    access_log {self.notes} line;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{self.port};
        location / {{ return 200 "nginx\\n"; }}
    }}
}}
"""
        )
        nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
        assert nginx, "nginx is missing: apt-get install nginx"
        super().__init__([nginx, "-c", file, "-e", folder / "error.log"], folder / "nginx.log")
        until(lambda: listens(self.port), "nginx")

    def lines(self) -> list[str]:
        """The request lines that it understood."""
        return self.notes.read_text().splitlines() if self.notes.exists() else []


NODE_ORIGIN = """
const http = require('http');
const fs = require('fs');
const [port, notes] = process.argv.slice(1);
const server = http.createServer((request, response) => {
  fs.appendFileSync(notes, `${request.method} ${request.url} HTTP/${request.httpVersion}\\n`);
  request.resume();
  request.on('end', () => response.end('node\\n'));
});
server.keepAliveTimeout = 60000;
server.listen(Number(port), '127.0.0.1');
"""


class Node(Program):
    """node's own HTTP server; notes its request lines."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.notes = folder / "node.notes"
        super().__init__(["node", "-e", NODE_ORIGIN, str(self.port), self.notes], folder / "node.log")
        until(lambda: listens(self.port), "node")

    def lines(self) -> list[str]:
        """The request lines that it understood."""
        return self.notes.read_text().splitlines() if self.notes.exists() else []


class NodeScript(Program):
    """A script of our own for node, with the packages that ./test installed."""

    def __init__(self, folder: Path, script: str, *arguments: str, parts: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        environment = {"NODE_PATH": str(parts / "node" / "node_modules"), "PATH": "/usr/local/bin:/usr/bin:/bin"}
        node = shutil.which("node") or "node"
        super().__init__([node, "-e", script, *arguments], folder / "script.log", env=environment)


class Python(Program):
    """Python's own http.server; notes its request lines."""

    SCRIPT = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
port, notes = int(sys.argv[1]), sys.argv[2]
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        with open(notes, "a") as file:
            file.write(self.requestline + "\\n")
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        body = b"python\\n"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST = do_PUT = answer
    def log_message(self, *unused): pass
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

    def __init__(self, folder: Path) -> None:
        import sys

        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.notes = folder / "python.notes"
        super().__init__(
            [sys.executable, "-c", self.SCRIPT, str(self.port), str(self.notes)], folder / "python.log"
        )
        until(lambda: listens(self.port), "Python's server")

    def lines(self) -> list[str]:
        """The request lines that it understood."""
        return self.notes.read_text().splitlines() if self.notes.exists() else []

