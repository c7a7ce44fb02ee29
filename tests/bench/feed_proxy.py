"""The feed behind nginx, as deploy/ sets it up: web processes on unix sockets."""

import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.bench.figure import Figure
from tests.bench.scale import scaled
from tests.load.delivery import answers, delivery, measure

if TYPE_CHECKING:
    from tests.load.portal import Site

VIEWERS = scaled(4000, 10)


def figures() -> Iterator[Figure]:
    """Of one and of two processes."""
    from tests.load.portal import Site  # needs Django set up
    from tests.load.proxy import find_nginx

    if binary := find_nginx():
        for processes in scaled((1, 2), (2,)):
            yield from _behind_nginx(Site(), binary, processes)
    else:
        yield Figure.not_measured("feed.through_nginx", "nginx is missing: apt-get install nginx-light")


def _behind_nginx(site: "Site", binary: str, processes: int) -> Iterator[Figure]:
    from tests.load.proxy import nginx
    from tests.stack import free_port, wait_for

    stream, port = site.stream(), free_port()
    with site.run(0, [stream], processes=0) as running, tempfile.TemporaryDirectory() as folder:
        sockets = [f"{folder}/{number}.sock" for number in range(processes)]
        for path in sockets:
            running.stack.start("web", "--unix", path, name=path.rpartition("/")[2])
        with nginx(binary, folder, port, sockets) as proxy:
            wait_for(lambda: all(map(answers, (port, *sockets))), seconds=30, what="nginx")
            with site.viewers(port, VIEWERS, [stream]) as client:
                began = running.cpu(), proxy.cpu()
                seen = measure([client], [stream])
                used = running.cpu() - began[0], proxy.cpu() - began[1]
    name = f"feed.{VIEWERS}_viewers_through_nginx_to_{processes}_processes"
    yield from delivery(name, seen)
    yield Figure(f"{name}.server_cpu", used[0] / seen["seconds"] * 100, "%_of_a_core")
    yield Figure(f"{name}.nginx_cpu", used[1] / seen["seconds"] * 100, "%_of_a_core")
