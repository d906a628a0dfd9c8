"""A server that checks look at."""

import http.server
import threading


class Web:
    """A server of Python's own, perhaps over TLS, which says what `status` and `body` hold."""

    def __init__(self, tls=None) -> None:
        self.status, self.body, self.seen = 200, b"all is well", []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("content-length") or 0)
                outer.seen.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
                status = 302 if self.path == "/moved" else outer.status
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "/health")
                self.send_header("content-length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_POST = answer

            def log_message(self, *unused):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *unused):
                """A client that does not trust us goes away."""

        self.server = Server(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
