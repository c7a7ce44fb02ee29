"""The way out to one websocket of daphne: writes ready frames to its transport and knows when the client lags.

Daphne itself would buffer without end for a client that does not read. Twisted tells a registered producer when the
transport's buffer is full and when it has drained; that, the heartbeat and a close that waits for slow clients are
all there is here.
"""

import os
import socket
import time
from collections.abc import Callable
from typing import Any

from autobahn.websocket.protocol import WebSocketProtocol

from jobs.feed.frames import Frame, message

KERNEL_BUFFER = 64 * 1024  # bytes; Linux doubles it. Without this one lagging client can hold megabytes of the kernel
# Proxies close a connection silent for a minute (nginx) or more. A peer that does not answer in time is gone.
PING_SECONDS = int(os.environ.get("LEFT4ME_PING_SECONDS", "20"))
PONG_SECONDS = PING_SECONDS * 1.5
LINGER_SECONDS = 30  # for a slow client to read up to the close frame
STUCK_SECONDS = 150  # without reading, which is longer than anybody who is slow is given: gone
MAX_REASON = 123  # bytes: a control frame holds 125
BEAT = message(type="beat")


class Outlet:
    """See `jobs.feed.viewers.Outlet`; also the `IPushProducer` of its transport. On the event loop only."""

    __slots__ = ("_heard", "_on_drain", "_pinged", "_protocol", "_socket", "beats", "paused")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._on_drain: Callable[[], None] | None = None
        self._socket: socket.socket | None = None
        self._heard = time.monotonic()
        self._pinged = False
        self.paused = False
        self.beats = False
        protocol.onPong = self.heard
        protocol.onPing = self.pinged
        protocol.failByDrop = False  # tell a client that breaks the rules which, before the connection ends

    def open(self, on_drain: Callable[[], None]) -> None:
        """Begin to watch the transport's buffer, of which the HTTP channel was told before the upgrade."""
        self._on_drain = on_drain
        transport = self._protocol.transport
        if not self.is_open or transport.disconnecting:
            return
        self._socket = transport.getHandle()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
        transport.unregisterProducer()
        transport.registerProducer(self, True)

    @property
    def is_open(self) -> bool:
        return bool(self._protocol.state == WebSocketProtocol.STATE_OPEN)

    def write(self, frame: Frame) -> None:
        """Write the frame as it is. Nothing when the socket is closing.

        Mostly nothing waits and the kernel takes it all. Going through the transport then would cost two changes of
        epoll's set and a turn of the reactor a frame, three times the work (docs/performance.md).
        """
        if not self.is_open:
            return
        transport, wire = self._protocol.transport, frame.wire
        # Twisted has no public way to ask whether its buffer is empty; should these change, all goes through it.
        if self._socket and not (transport.dataBuffer or getattr(transport, "_tempDataBuffer", True)):
            try:
                sent = self._socket.send(wire)
            except OSError:  # full, or gone, which the transport finds out
                sent = 0
            if sent == len(wire):
                return
            wire = wire[sent:]
        transport.write(wire)

    def close(self, code: int, reason: str = "") -> None:
        """Send the close frame behind what is already buffered, and wait for a client that lags to get there."""
        if self.is_open:
            if self.paused:
                self._protocol.closeHandshakeTimeout = LINGER_SECONDS
            # Not sendClose, which refuses the codes that RFC 6455 and its registry define: 1013 is "try again later".
            self._protocol.sendCloseFrame(code=code, reasonUtf8=reason.encode()[:MAX_REASON])

    def refuse(self, code: int, reason: str = "") -> None:
        """Close, and read nothing more; the connection ends a second later without the client's part."""
        self.close(code, reason)
        self._protocol.transport.pauseProducing()

    # What Twisted calls.

    def pauseProducing(self) -> None:
        """The transport's buffer is full (64 KiB and the last frame)."""
        self.paused = True

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        self.paused = False
        self._heard = time.monotonic()
        if self._on_drain:
            self._on_drain()

    def stopProducing(self) -> None:
        """The connection is gone; the consumer hears of it by itself."""
        self._on_drain = None

    # The heartbeat, which also keeps proxies from closing an idle connection.

    def heard(self, payload: bytes = b"") -> None:
        """The client answered a ping."""
        self._heard, self._pinged = time.monotonic(), False

    def pinged(self, payload: bytes) -> None:
        """Answer, unless the client does not read its answers: they would pile up."""
        if not self.paused:
            self._protocol.sendPong(payload)

    def beat(self, now: float) -> None:
        """Ping a client not heard of for a while, and drop one that did not answer or does not read.

        A page sees no pings. With `beats` it is sent a message with each, and so finds out too when the path is gone.
        """
        silent = now - self._heard
        if silent > STUCK_SECONDS if self.paused else self._pinged and silent > PING_SECONDS + PONG_SECONDS:
            self._protocol.dropConnection(abort=True)
        elif not self.paused and not self._pinged and silent > PING_SECONDS:
            self._pinged = True
            self._protocol.sendPing()
            if self.beats:
                self.write(BEAT)
