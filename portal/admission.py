"""What a client may send to the web process: bounds on size, time and number, kept before any page is asked.

Daphne alone reads every body to its end and Django keeps it, whatever the page, and neither minds how long that takes.
Here a request is refused once its head says too much, its body becomes too much or too slow, or too many are under way.
"""
# mypy: disable-error-code="no-untyped-call, override, assignment"
# What Twisted and daphne call is partly untyped.

import json
import re
import time
from collections import Counter
from http import HTTPStatus
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.utils import parse_x_forwarded_for
from django.conf import settings
from twisted.internet.interfaces import IAddress
from twisted.web.http import HTTPChannel

from jobs.addresses import network_of
from servers.services.uploads import PIECE, member_of

# The largest form is a layer's text of 1 MiB, of which percent-encoding can make three.
FORM_BYTES = 4 << 20
NOBODYS_BYTES = 64 << 10  # of who shows neither a session nor a token: a name and a password
PIECE_BYTES = PIECE + (64 << 10)
UPLOAD = re.compile(r"/uploads/([0-9a-f-]{36})/")
HEADERS = 100
IDLE_SECONDS = 60  # without a request
HEAD_SECONDS = 20  # for the head of a request, however its bytes trickle in
BODY_SECONDS, BODY_RATE = 30, 16 << 10  # for a body, and so many bytes a second on average after that
LINGER_SECONDS, LINGER_BYTES = 10, 64 << 20  # a refused client may go on sending before it reads the answer
PROXY = ""  # whose a proxy's connection is until it is told whom its request is for
SENTENCES = {
    408: "The request took too long to arrive. Send it again.",
    413: "That is more than may be sent here. If you were signed out, sign in first.",
    503: "Too much is under way. Try again in a moment.",
}


class Share:
    """So much of something is to be had, and so much of it by one address or member; on the event loop only.

    Half of it is only for those that have no more than `few`, a 256th by default: some that take all they can leave
    room for the first requests of a hundred others. `PROXY` may have everything.
    """

    def __init__(self, *, each: int, total: int, few: int = 0) -> None:
        self.each, self.total = each, total
        self.common, self.few = total // 2, few or max(1, total // 256)
        self.taken = 0
        self._by_address: Counter[str] = Counter()

    def take(self, address: str, amount: int = 1) -> bool:
        """Take it, unless that would be more than there is."""
        has = self._by_address.get(address, 0) + amount
        is_few = has <= self.few or address == PROXY
        if (has > self.each and address != PROXY) or self.taken + amount > (self.total if is_few else self.common):
            return False
        self.taken += amount
        self._by_address[address] += amount
        return True

    def give_back(self, address: str, amount: int = 1) -> None:
        self.taken -= amount
        self._by_address[address] -= amount
        if not self._by_address[address]:
            del self._by_address[address]


class Admission:
    """What one web process shares out among its clients."""

    def __init__(self, *, connections: Share) -> None:
        self.connections = connections  # but for websockets, which have limits of their own
        self.running = Share(each=128, total=1024)  # requests until they are answered
        # Bytes of bodies, until their requests are done. Each is there up to three times: here, on its way, in Django.
        self.bodies = Share(each=32 << 20, total=128 << 20)
        # The same of uploads' pieces, by member. Counted whole from the start: what is let in also gets through.
        self.pieces = Share(each=2 * PIECE_BYTES, total=16 * PIECE_BYTES, few=PIECE_BYTES)


class Request(WebRequest):
    """Daphne's request, judged before and while its body arrives."""

    channel: Any = None  # again, once Twisted has deleted the request's own

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._parsePOSTFormSubmission = False  # Twisted's own, which nobody here looks at
        self._refused = self._runs = False
        self._address, self._target = "", b""
        self._arrived = self._held = self._most = 0
        self._began = 0.0

    def gotLength(self, length: int | None) -> None:
        """The head is here; `length` is None for a body whose length the client does not tell."""
        self._target = self.channel._path
        self._address, self._began = self._sender(), time.monotonic()
        member = self._uploader()
        self._share, self._whose = self.server.admission.bodies, self._address
        self._most = PIECE_BYTES if member is not None else FORM_BYTES if self._is_somebodys() else NOBODYS_BYTES
        if not self.channel.count_for(self._address):
            self.refuse(503)
            return
        if (length or 0) > self._most:
            self.refuse(413)
            return
        if member is not None:
            self._share, self._whose = self.server.admission.pieces, f"member {member}"
            if not self._hold(self._most if length is None else length):
                self.refuse(503)
                return
        super().gotLength(length)
        if length != 0:
            self.channel.setTimeout(BODY_SECONDS)

    def handleContentChunk(self, data: bytes) -> None:
        if self._refused:
            return
        self._arrived += len(data)
        if self._arrived > self._most:
            self.refuse(413)
        elif self._arrived > self._held and not self._hold(self._arrived - self._held):
            self.refuse(503)
        else:
            passed = time.monotonic() - self._began
            self.channel.setTimeout(max(1, BODY_SECONDS + self._arrived / BODY_RATE - passed))
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """All of it is here."""
        if self._refused:
            return
        if self.requestHeaders.getRawHeaders(b"Upgrade", [b""])[0].lower() != b"websocket":
            if not self.server.admission.running.take(self._address):
                self.refuse(503)
                return
            self._runs = True
        super().requestReceived(command, path, version)
        if not self.transport:  # it went to a websocket
            self.channel.leave()
            self.forget()

    def answered(self) -> None:
        """An answer begins, or nobody is left to give one."""
        if self._runs:
            self._runs = False
            self.server.admission.running.give_back(self._address)

    def forget(self, *_: Any) -> None:
        """Nobody has its body any more."""
        self.answered()
        if self._held:
            self._share.give_back(self._whose, self._held)
            self._held = 0

    def handle_reply(self, message: dict[str, Any]) -> None:
        self.answered()
        super().handle_reply(message)

    def finish(self) -> None:
        super().finish()
        self._forget_unless_used()

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self._forget_unless_used()

    def refuse(self, status: int) -> None:
        """Answer and end the connection; what still comes is thrown away for a while.

        Closed at once, with bytes unread, the connection would be reset and the answer lost on its way.
        """
        self._refused = True
        self.forget()
        if self.content:
            self.content.close()
        self.requestHeaders.removeHeader(b"Expect")  # Twisted would ask for the body
        channel = self.channel
        channel.transport.write(_answer(status, self._target))
        channel.transport.loseWriteConnection()
        channel.setTimeout(None)
        channel.dataReceived = channel.throw_away
        channel._abortingCall = channel.callLater(LINGER_SECONDS, channel.forceAbortClient)

    def end_waiting(self, seconds: float) -> None:
        """Answer for a page that has not begun to after so long."""
        if self.application_queue and self.channel and not self._response_started and self.duration() > seconds:
            self.basic_error(503, b"Service Unavailable", "The portal did not answer in time. Try again in a moment.")

    def _forget_unless_used(self) -> None:
        if not self.application_queue:
            self.forget()

    def _sender(self) -> str:
        """Its network, by the proxy's word where there is a proxy, as daphne takes it."""
        peer = str(getattr(self.client, "host", ""))
        name = self.server.proxy_forwarded_address_header
        return network_of(str(parse_x_forwarded_for(self.requestHeaders, name, original_addr=[peer])[0][0]))

    def _hold(self, amount: int) -> bool:
        """Keep room for so many more bytes, if there is."""
        if not self._share.take(self._whose, amount):
            return False
        self._held += amount
        return True

    def _is_somebodys(self) -> bool:
        """Whether it shows a session or a token, good or not: only the database could tell."""
        cookies = b";".join(self.requestHeaders.getRawHeaders(b"Cookie", []))
        is_session = f"{settings.SESSION_COOKIE_NAME}=".encode() in cookies
        return is_session or self.requestHeaders.hasHeader(b"Authorization")

    def _uploader(self) -> int | None:
        """The member whose upload's piece this is, by the key that the member was given; None for other requests."""
        upload = UPLOAD.fullmatch(self._target.partition(b"?")[0].decode("latin-1"))
        return member_of(upload[1]) if upload and self.channel._command == b"PUT" else None


class Channel(HTTPChannel):
    """One connection. The time for a request counts from its first byte, and no further byte puts it off."""

    maxHeaders = HEADERS
    _counted: str | None = None  # for whom
    _begun = False
    _thrown_away = 0  # bytes

    def count_for(self, address: str) -> bool:
        """Be that address's connection, if it may have one more: a proxy's is whoever's its newest request is."""
        if address != self._counted:
            self.leave()
            if not self.factory.server.admission.connections.take(address):
                return False
            self._counted = address
        return True

    def leave(self) -> None:
        """It is no connection of ours any more."""
        if self._counted is not None:
            self.factory.server.admission.connections.give_back(self._counted)
            self._counted = None

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self.leave()

    def dataReceived(self, data: bytes) -> None:
        if not self._begun and not self._handlingRequest:
            self._begun = True
            self.setTimeout(HEAD_SECONDS)
        super(HTTPChannel, self).dataReceived(data)  # Twisted's own would start its time again

    def throw_away(self, data: bytes) -> None:
        """What a refused client still sends."""
        assert self.transport
        self._thrown_away += len(data)
        if self._thrown_away > LINGER_BYTES:
            self.transport.abortConnection()

    def requestDone(self, request: Any) -> None:
        self._begun, self._savedTimeOut = False, IDLE_SECONDS
        super().requestDone(request)

    def timeoutConnection(self) -> None:
        if self.requests and not self._handlingRequest:
            self.requests[-1].refuse(408)
        else:
            super().timeoutConnection()


class Factory(HTTPFactory):
    """Makes such connections, as many as there may be."""

    protocol = Channel

    def buildProtocol(self, addr: IAddress | None) -> Channel | None:
        """None, when Twisted closes the connection."""
        is_proxy = self.server.proxy_forwarded_address_header
        channel: Channel = super().buildProtocol(addr)
        if not channel.count_for(PROXY if is_proxy else network_of(str(getattr(addr, "host", "")))):
            return None
        channel.requestFactory, channel.timeOut = Request, IDLE_SECONDS
        return channel


def _answer(status: int, path: bytes) -> bytes:
    phrase, sentence = HTTPStatus(status).phrase, SENTENCES[status]
    kind, body = "text/plain", f"{sentence}\n"
    if path.startswith(b"/api/"):
        kind = "application/problem+json"
        body = json.dumps({"type": "about:blank", "title": phrase, "status": status, "detail": sentence})
    again = "Retry-After: 2\r\n" if status == 503 else ""
    return (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"{again}Connection: close\r\n\r\n{body}"
    ).encode()
