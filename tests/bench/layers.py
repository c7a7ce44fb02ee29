"""Pages of a server with 300 installed Workshop items, as a member's browser asks for them."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.figure import Figure, percentile
from tests.bench.scale import scaled

if TYPE_CHECKING:
    from servers.models import Server

ITEMS, ALONE, FILES_EACH = scaled((300, 80, 60), (4, 2, 3))  # a stack holds 100 layers
ASKED, WARM = scaled((60, 3), (2, 1))


def figures() -> Iterator[Figure]:
    import httpx
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.test import Client

    from servers.models import Layer
    from tests.servers.steam import Steam
    from tests.stack import Stack

    settings.STATIC_ROOT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="left4me-bench-") as name, Steam() as steam:
        folder = Path(name)
        environment = {"LEFT4ME_STATE": str(folder / "state"), "LEFT4ME_STEAM_API": steam.url}
        with Stack(folder, **environment) as stack:
            stack.start("cluster")
            owner = get_user_model().objects.create_user("bench-layers")
            server = _server_with_items(steam, owner)
            layer = Layer.objects.get(name="All of them")
            client = Client()
            client.force_login(owner)
            cookies = {name: morsel.value for name, morsel in client.cookies.items()}
            with httpx.Client(base_url=stack.start_web(), cookies=cookies, timeout=30) as browser:
                for what, path in {
                    "list": "/layers/", "layer": f"/layers/{layer.slug}/", "stack": f"/servers/{server.name}/layers/",
                    "server": f"/servers/{server.name}/", "settings": f"/servers/{server.name}/settings/",
                }.items():  # fmt: skip
                    yield Figure(f"layers.{ITEMS}_items.{what}.p95", _p95(browser, path), "ms", 150)


def _server_with_items(steam, owner) -> "Server":  # type: ignore[no-untyped-def]
    """Most items in one layer, `ALONE` each in one of its own, all on one stack; some files are in two items."""
    from servers import services
    from servers.models import Blueprint
    from tests.servers.addons import campaign
    from tests.servers.living import settled

    for number in range(ITEMS):
        more = {f"materials__m{number}_{file}": b"x" for file in range(FILES_EACH)}
        more[f"scripts__shared{number // 2}"] = b"x"
        steam.item(str(number + 1), f"Item {number}", campaign(f"c{number}", f"Item {number}", f"m{number}", **more))
    ids, together = [str(number + 1) for number in range(ITEMS)], ITEMS - ALONE
    blueprint = Blueprint.objects.create(slug="bench-layers", name="Bench", game="left4dead2")
    server = services.create_server(by=owner, name="bench-layers", blueprint=blueprint)
    for name, some in [("All of them", ids[:together]), *((f"Item {one}", [one]) for one in ids[together:])]:
        layer = services.create_layer(
            by=owner, name=name, game="left4dead2", kind="workshop", visibility="private", source={"ids": some}
        )
        services.add_to_stack(by=owner, holder=server, layer=layer)
    from jobs.models import Job

    for job in Job.objects.filter(kind="layers.build").order_by("pk"):
        assert settled(job, 300) == "succeeded", job.error
    return server


def _p95(browser, path: str) -> float:  # type: ignore[no-untyped-def]
    times = []
    for _ in range(WARM + ASKED):
        began = time.perf_counter()
        answer = browser.get(path)
        times.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
    return percentile(times[WARM:], 95)
