"""A stretch of network that can be cut."""

import select
import socket
import ssl
import threading

from .ports import free_port


class Relay:
    """Passes connections on to a port of 127.0.0.1 until it is cut; then it refuses them.

    It may take them over TLS; they are passed on in the clear."""

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self._target, self._tls = target, tls
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.heal()

    def cut(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            open_now, self._open = self._open, []
        for sock in open_now:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed before, by its peer
            sock.close()

    def heal(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return  # cut
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open += [near, far]
            if self._tls:
                threading.Thread(target=self._unwrap, args=(near, far), daemon=True).start()
                continue
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # cut

    def _unwrap(self, near: socket.socket, far: socket.socket) -> None:
        rest = near.dup()
        try:
            near = self._tls.wrap_socket(near, server_side=True, do_handshake_on_connect=False)
            near.do_handshake()
            # One thread for both ways: a TLS connection is not for two at a time.
            while self._pass_once(near, far):
                pass
        except OSError:
            pass  # refused, or cut
        finally:
            far.close()
            self._say_goodbye(rest)
            near.close()

    @staticmethod
    def _pass_once(near: ssl.SSLSocket, far: socket.socket) -> bool:
        """Passes on what is there; says whether there may be more."""
        readable, _, _ = select.select([near, far], [], [])
        for one, other in ((near, far), (far, near)):
            if one not in readable:
                continue
            data = one.recv(65536)
            while one is near and near.pending():
                data += near.recv(near.pending())
            if not data:
                return False
            other.sendall(data)
        return True

    @staticmethod
    def _say_goodbye(near: socket.socket) -> None:
        """Closes it after what was said last has arrived: a reset would overtake it."""
        with near:
            try:
                near.settimeout(2)
                near.shutdown(socket.SHUT_WR)
                while near.recv(65536):
                    pass
            except OSError:
                pass  # gone
