"""A stand-in for the Workshop: the two endpoints as documented, files beside them, and the ways in which it fails."""

import json
import re
import threading
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.servers.addons import campaign


class Steam:
    """`items` and `collections` by id; `failures[path]` are statuses answered first, or "cut", "loop", "away"."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.collections: dict[str, list[tuple[str, int]]] = {}
        self.failures: dict[str, list[int | str]] = defaultdict(list)
        self.asked: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def item(self, number: str, title: str, data: bytes | None = None, **values: Any) -> None:
        data = campaign(f"c{number}", title, f"m{number}") if data is None else data
        self.files[f"/file/{number}"] = data
        self.items[number] = {
            "publishedfileid": number, "result": 1, "creator_app_id": 550, "consumer_app_id": 550,
            "filename": f"{number}.vpk", "file_size": str(len(data)), "file_url": f"{self.url}/file/{number}",
            "title": title, "time_updated": 1_600_000_000,
        } | values  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        steam = self

        class Handler(_Handler):
            pass

        Handler.steam = steam
        self.server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    steam: Steam

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        ids = [form[f"publishedfileids[{n}]"][0] for n in range(len(form) - 1)]
        path = urlsplit(self.path).path
        if self._fails(path):
            return
        if path == "/ISteamRemoteStorage/GetPublishedFileDetails/v1/":
            assert form["itemcount"] == [str(len(ids))]
            details = [self.steam.items.get(one, {"publishedfileid": one, "result": 9}) for one in ids]
            self._json({"result": 1, "resultcount": len(ids), "publishedfiledetails": details})
        elif path == "/ISteamRemoteStorage/GetCollectionDetails/v1/":
            assert form["collectioncount"] == [str(len(ids))]
            self._json({"result": 1, "resultcount": len(ids), "collectiondetails": [self._collection(i) for i in ids]})
        else:
            self.send_error(404)

    def _collection(self, number: str) -> dict[str, Any]:
        if number not in self.steam.collections:
            return {"publishedfileid": number, "result": 9}
        children = [
            {"publishedfileid": child, "sortorder": order, "filetype": kind}
            for order, (child, kind) in enumerate(self.steam.collections[number])
        ]
        return {"publishedfileid": number, "result": 1, "children": children}

    def do_GET(self) -> None:
        with self.steam.lock:
            self.steam.at_once += 1
            self.steam.most_at_once = max(self.steam.most_at_once, self.steam.at_once)
        try:
            if re.fullmatch(r"/file/\d+", self.path) and not self._fails(self.path):
                self._send(self.steam.files[self.path])
            elif self.path == "/loop":
                self._redirect("/loop")
        finally:
            with self.steam.lock:
                self.steam.at_once -= 1

    def _fails(self, path: str) -> bool:
        with self.steam.lock:
            self.steam.asked[path] += 1
            planned = self.steam.failures[path]
            how = planned.pop(0) if planned else None
        if how == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"x" * 10)
        elif how == "html":
            self._send(b"<html>down for maintenance</html>")
        elif how == "loop":
            self._redirect("/loop")
        elif how == "away":
            self._redirect("file:///etc/passwd")
        elif how:
            self.send_error(int(how))
        return bool(how)

    def _redirect(self, to: str) -> None:
        self.send_response(302)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, response: dict[str, Any]) -> None:
        self._send(json.dumps({"response": response}).encode())

    def _send(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
