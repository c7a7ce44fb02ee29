"""The web process: daphne with limits of our own."""

import contextlib
import gc
import io
import os
import resource
import socket
import time
from functools import partial
from typing import Any

import daphne.server
from daphne.server import Server as DaphneServer
from django.conf import settings
from django.db import connections
from twisted.internet import reactor
from twisted.web import http

from jobs.supervision import tell_ready
from portal.admission import Admission, Factory, Request, Share
from portal.outlet import Outlet
from portal.settings import pool_of
from portal.throttle import Throttle, abort

OPEN_FILES = 65_536
BACKLOG = 4096  # a whole community comes back at once after a restart; the kernel bounds it by net.core.somaxconn
POOL = 8
ANSWER_SECONDS = 60  # until a page begins to answer; a database that hangs would keep it waiting for ever
DOOR_SECONDS = 30  # to be let in, when thousands come at once
MAX_MESSAGE = 4096  # bytes; clients have nothing to say
CONNECTIONS = 16_384  # beside websockets
daphne.server.HTTPFactory = Factory  # type: ignore[attr-defined]  # daphne makes what this name says
# Twisted keeps bodies in scratch files, and ends the connection when their disk is full: no page could say so.
http._getContentFile = lambda length: io.BytesIO()


def endpoints(*, host: str, port: int | None, unix: list[str], fd: int | None) -> list[str]:
    """Twisted's endpoint descriptions; `host:8000` when nothing else is asked for."""
    described = [f"unix:{path}:mode=660:backlog={BACKLOG}" for path in unix]
    if fd is not None:
        described.append(f"fd:fileno={fd}")
    if port is not None or not described:
        address = host.strip("[]").replace(":", r"\:")
        described.append(f"tcp:port={8000 if port is None else port}:interface={address}:backlog={BACKLOG}")
    return described


def remove_stale(path: str) -> None:
    """Remove the socket file that a killed process left behind; one that still answers stays."""
    with contextlib.suppress(FileNotFoundError), socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def raise_open_files() -> None:
    """Each viewer is a file descriptor; the default soft limit of 1024 is the ancestor of select(2), not ours."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def shared_connections() -> Share:
    """Connections there may be, which leave files for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    total = min(CONNECTIONS, soft // 2)
    return Share(each=min(total // 2, settings.SOCKET_LIMITS["address"] + 1000), total=total)


def use_pool() -> None:
    """Let requests share `POOL` database connections, unless `LEFT4ME_DB_POOL` already said how many."""
    database: dict[str, Any] = connections.settings["default"]
    if "pool" not in database["OPTIONS"]:
        database["OPTIONS"]["pool"] = pool_of(POOL)
        database["CONN_MAX_AGE"] = 0


def spare_the_collector() -> None:
    """Keep the garbage collector from stopping thousands of viewers: a full collection of their objects takes long.

    What is loaded by now stays for good and need not be looked at again; the rest is looked at less often. Not too
    seldom: what a closed connection leaves behind goes by the collector alone.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


class Server(DaphneServer):
    """Daphne, with limits fit for sockets that only listen, and an outlet for each (`portal/outlet.py`)."""

    def __init__(self, application: Any, described: list[str], *, behind_proxy: bool) -> None:
        """`behind_proxy`: believe X-Forwarded-For and X-Forwarded-Proto, which the proxy must set itself."""
        self.admission = Admission(connections=shared_connections())
        super().__init__(  # type: ignore[no-untyped-call]
            application=application,
            endpoints=described,
            proxy_forwarded_address_header="X-Forwarded-For" if behind_proxy else None,
            proxy_forwarded_proto_header="X-Forwarded-Proto" if behind_proxy else None,
            server_name="left4me",
            ready_callable=tell_ready,
            websocket_timeout=-1,  # no end
            websocket_connect_timeout=DOOR_SECONDS,
            websocket_handshake_timeout=DOOR_SECONDS,
            websocket_max_message_size=MAX_MESSAGE,
            websocket_max_frame_size=MAX_MESSAGE,
        )

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if scope["type"] == "websocket":
            scope["outlet"] = protocol.outlet = Outlet(protocol)
            scope["scheme"] = "wss" if getattr(protocol, "client_scheme", None) == "https" else "ws"  # the proxy's word
        else:
            scope["abort"] = partial(abort, protocol)
        queue = super().create_application(protocol, scope)  # type: ignore[no-untyped-call]
        if queue and scope["type"] == "http":
            self.connections[protocol]["application_instance"].add_done_callback(protocol.forget)
        return queue

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Send the application's message; a streamed response is given the next turn when its client has kept up."""
        if message["type"].startswith("http.") and not protocol.channel:
            return  # the client is gone
        streamed = message["type"] == "http.response.body" and message.get("more_body")
        if streamed and not protocol.producer:
            Throttle(protocol)
        elif message["type"] == "http.response.body" and not streamed and protocol.producer:
            protocol.unregisterProducer()
        await super().handle_reply(protocol, message)  # type: ignore[no-untyped-call]
        if streamed and protocol.producer:
            await protocol.producer.ready()

    def timeout_checker(self) -> None:
        """Every two seconds; for open sockets the outlet's heartbeat alone, since daphne's limits are off for them."""
        now = time.monotonic()
        for protocol in list(self.connections):
            outlet: Outlet | None = getattr(protocol, "outlet", None)
            if outlet and outlet.is_open:
                outlet.beat(now)
            elif isinstance(protocol, Request):
                protocol.end_waiting(ANSWER_SECONDS)
            else:
                protocol.check_timeouts()
        reactor.callLater(2, self.timeout_checker)  # type: ignore[arg-type]  # the stub leaves out self


def serve(*, host: str, port: int | None, unix: list[str], fd: int | None, behind_proxy: bool) -> bool:
    """Serve until SIGTERM or SIGINT; whether it could start. Only a proxy reaches a unix socket."""
    raise_open_files()
    use_pool()
    from portal.asgi import application

    for path in unix:
        remove_stale(path)
    described = endpoints(host=host, port=port, unix=unix, fd=fd)
    only_unix = all(description.startswith("unix:") for description in described)
    server = Server(application, described, behind_proxy=behind_proxy or only_unix)
    spare_the_collector()
    server.run()  # type: ignore[no-untyped-call]
    return not server.abort_start
