"""nginx before the web processes, set up as deploy/etc/nginx.conf does."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.load.processes import cpu

CONFIGURATION = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    {temporary}
    upstream web {{ {servers} }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://web;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 1h;
            proxy_buffering off;
        }}
    }}
}}
"""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def find_nginx() -> str | None:
    """Its binary; Debian's package is nginx-light."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


class Proxy:
    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process

    def cpu(self) -> float:
        return cpu(self.process.pid)


@contextmanager
def nginx(binary: str, folder: str, port: int, sockets: list[str]) -> Iterator[Proxy]:
    """nginx on `port` before the unix sockets."""
    path = Path(folder, "nginx.conf")
    path.write_text(
        CONFIGURATION.format(
            folder=folder,
            port=port,
            servers=" ".join(f"server unix:{socket};" for socket in sockets),
            temporary=" ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY),
        )
    )
    process = subprocess.Popen([binary, "-c", str(path), "-p", folder, "-e", "stderr"], stderr=subprocess.DEVNULL)
    try:
        yield Proxy(process)
    finally:
        process.kill()
        process.wait()
