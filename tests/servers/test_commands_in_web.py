"""Console commands through a real web process, which has few connections to the database."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

from portal.tokens import create_token
from servers.models import Server
from tests.stack import Stack


def test_a_game_that_does_not_answer_keeps_nobody_from_the_database(server, alice, stack: Stack) -> None:
    Server.objects.filter(pk=server.pk).update(unit="running", secrets={"rcon": "s3cret"})
    bearer = {"Authorization": f"Bearer {create_token(user=alice, name='bot')[1]}"}
    stack.environment["LEFT4ME_DB_POOL"] = "1"
    url = stack.start_web()
    with socket.create_server(("127.0.0.1", 0)) as game, ThreadPoolExecutor(1) as pool:
        server.ports.update(number=game.getsockname()[1])
        request = Request(
            f"{url}/api/v1/servers/{server.name}/command", data=json.dumps({"command": "status"}).encode(),
            headers=bearer | {"Content-Type": "application/json"},
        )  # fmt: skip
        waiting = pool.submit(urlopen, request, timeout=30)
        silent, _ = game.accept()
        assert json.load(urlopen(Request(f"{url}/api/v1/me", headers=bearer), timeout=4))["username"] == "alice"
        assert not waiting.done()
        assert waiting.exception(30)
        silent.close()
