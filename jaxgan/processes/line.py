"""Messages between two processes of a job, and a way round a host that is lost."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Mapping
from typing import Any

_MOST_BYTES = 1 << 24


class Line:
    """Messages over a connection: one JSON object a line."""

    def __init__(self, connection: socket.socket):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._received = b""
        self._sending = threading.Lock()

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends one; may be called from any thread."""
        with self._sending:
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next message; `TimeoutError` when none comes, `ConnectionError` or `ValueError` when none can come."""
        self._connection.settimeout(seconds)
        while b"\n" not in self._received:
            piece = self._connection.recv(1 << 16)
            if not piece:
                raise ConnectionError("ended")
            self._received += piece
            if len(self._received) > _MOST_BYTES:
                raise ValueError("no message")
        text, self._received = self._received.split(b"\n", 1)
        message = json.loads(text)
        if not isinstance(message, dict):
            raise ValueError("no message")
        return message

    def finish(self) -> None:
        """Nothing more will be sent."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Ends the connection in both directions."""
        self._connection.close()


class Forwarder:
    """A port on this host through which a client reaches another one, and which stays open when that host is lost.

    JAX's client ends its process with a stack trace as soon as the coordinator's connection closes. Through a forwarder
    it notices nothing until its own time limit, so that the process can say in one line what happened, and end.

    Args:
      host: to reach.
      port: to reach.
    """

    def __init__(self, host: str, port: int):
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                near = self._listener.accept()[0]
                try:
                    far = socket.create_connection(self._target, timeout=10.0)
                except OSError:
                    near.close()  # JAX tries again.
                    continue
                far.settimeout(None)
                threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, ends: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
        if ends:  # Our own client has closed it. What the other host closes stays open here.
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)
