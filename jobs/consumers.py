"""The sockets: lets a client in, hands it to the feed, and watches for its end.

With `beat=1` in its query a client is sent `{"type":"beat"}` in each silence of 20 s (`portal/outlet.py`).

Plain ASGI: a viewer only listens, so a dispatching consumer a socket would cost memory and give nothing.
"""

import time
from typing import Any
from urllib.parse import parse_qs

from django.urls import re_path

from jobs.addresses import network_of
from jobs.feed import Feed, get_feed, metrics
from jobs.feed.gate import CLOSE_TOO_MANY
from jobs.feed.outlets import SendOutlet
from jobs.feed.viewers import LineViewer, Outlet, TopicViewer, Viewer
from jobs.policy import CLOSE_FORBIDDEN, CLOSE_UNKNOWN, MAX_ID, Asked

CLOSE_BAD_REQUEST = 4400
FLOOD_MESSAGES, FLOOD_SECONDS = 20, 10  # a client has nothing to say
REASONS = {
    4400: "after must be a whole number within 64 bits.",
    4401: "Sign in first.",
    4404: "There is no such log.",
    1013: "Try again in a moment.",
}


async def stream_socket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """`/ws/streams/{id}/?after=SEQ`: lines above SEQ (0 by default); a negative SEQ asks for so many of the newest."""
    stream = int(scope["url_route"]["kwargs"]["stream"])
    try:
        after = int(parse_qs(scope["query_string"].decode()).get("after", ["0"])[0])
    except ValueError:
        return await _refuse(scope, receive, send, CLOSE_BAD_REQUEST)
    if abs(after) > MAX_ID:
        return await _refuse(scope, receive, send, CLOSE_BAD_REQUEST)
    if stream > MAX_ID:
        return await _refuse(scope, receive, send, CLOSE_UNKNOWN)
    return await _serve(scope, receive, send, stream, after)


async def events_socket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """`/ws/events/`: which topics changed."""
    await _serve(scope, receive, send, None, 0)


async def unknown_socket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Any other path."""
    await _refuse(scope, receive, send, CLOSE_UNKNOWN)


async def _serve(scope: dict[str, Any], receive: Any, send: Any, stream: int | None, after: int) -> None:
    feed, credential = get_feed(), scope["credential"]
    heard = feed.access_news
    verdict = await feed.gate.ask(Asked(credential, stream, wants_topics=stream is None))
    if verdict.code:
        # A stranger is not told which numbers there are. Who had the right until now hears 4403, from the gate.
        code = CLOSE_UNKNOWN if verdict.code == CLOSE_FORBIDDEN else verdict.code
        return await _refuse(scope, receive, send, code)
    keys: dict[str, Any] = {"user": verdict.user_id, "address": network_of((scope.get("client") or [""])[0])}
    if stream is not None:
        keys["stream"] = stream
    if bound := feed.limits.enter(**keys):
        return await _refuse(scope, receive, send, CLOSE_TOO_MANY, f"Too many open connections of this {bound}.")
    try:
        # Nothing may come between these two: once it is open, a page relies on hearing of every change.
        outlet = await _accept(scope, receive, send)
        outlet.beats = b"beat=1" in scope["query_string"].split(b"&")
        viewer = (TopicViewer if stream is None else LineViewer)(outlet, credential, verdict.user_id)
        feed.attach(viewer, verdict, stream=stream, after=after, heard=heard)
        await _until_closed(receive, feed, viewer)
    finally:
        feed.limits.leave(**keys)


async def _accept(scope: dict[str, Any], receive: Any, send: Any) -> Outlet:
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    return scope.get("outlet") or SendOutlet(send)


async def _refuse(scope: dict[str, Any], receive: Any, send: Any, code: int, reason: str = "") -> None:
    """Accept, then close: browsers tell a page the close code only of a socket that was open."""
    metrics.refused.labels(code).inc()
    outlet = await _accept(scope, receive, send)
    outlet.close(code, reason or REASONS.get(code, ""))


async def _until_closed(receive: Any, feed: Feed, viewer: Viewer) -> None:
    """Wait for the client to go, then forget it; one that floods is cut off alone."""
    since, count = time.monotonic(), 0
    try:
        while (await receive())["type"] != "websocket.disconnect":
            now, count = time.monotonic(), count + 1
            if now - since > FLOOD_SECONDS:
                since, count = now, 1
            if count > FLOOD_MESSAGES:
                viewer.outlet.refuse(CLOSE_TOO_MANY, "Too many messages.")
                break
    finally:
        feed.detach(viewer)


routes: list[tuple[str, Any]] = [
    (r"^ws/streams/(?P<stream>\d{1,20})/$", stream_socket),
    (r"^ws/events/$", events_socket),
]
urlpatterns = [re_path(pattern, socket) for pattern, socket in [*routes, ("", unknown_socket)]]
