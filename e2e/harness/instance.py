"""A service instance as somebody writes it who has never heard of Portolan.

It ends at once on SIGTERM. A file `NAME.ill` in its folder makes it fail its check; it leaves
word there of the signals that it got and, as `NAME.busy`, of a slow request:

    python3 instance.py NAME PORT FOLDER [stubborn]
"""

import http.server
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    name, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    is_stubborn = "stubborn" in sys.argv[4:]
    told = (folder / f"{name}.signals").open("a", buffering=1)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            words = self.path.strip("/").split("/")
            if words[0] == "slow":
                (folder / f"{name}.busy").touch()
                time.sleep(int(words[1]) / 1000)
            if words[0] == "exit":
                os._exit(int(words[1]))
            if words[0] == "die":
                os.kill(os.getpid(), int(words[1]))
            is_ill = words[0] == "health" and (folder / f"{name}.ill").exists()
            body = name.encode()
            self.send_response(503 if is_ill else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None:
            pass

    def on_signal(number: int, _) -> None:
        told.write(f"{signal.Signals(number).name}\n")
        if number in (signal.SIGTERM, signal.SIGINT) and not is_stubborn:
            os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, on_signal)
    http.server.ThreadingHTTPServer.request_queue_size = 512
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


main()
