"""`manage.py demo`: the whole portal on one machine, for a first look. No root, no services, nothing outside var/."""

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.db import connection

from portal import tokens
from portal.models import User
from portal.postgres import Postgres
from portal.postgres_place import PostgresError
from portal.supervisor import Supervisor, say
from servers import seeds, services
from servers.models import Blueprint, Server

FIRST_SERVER = "practice"


def wait_answering(url: str) -> bool:
    """Whether the web process answers its health check."""
    with suppress(URLError, OSError), urlopen(f"{url}/healthz", timeout=2) as answer:  # noqa: S310 (our own address)
        return bool(answer.status == 200)
    return False


class Command(BaseCommand):
    help = "Run the whole portal on this machine: PostgreSQL, web, worker, agent and a first game server."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="Port of the web page (8000).")
        parser.add_argument("--json", type=Path, metavar="FILE", help="Write address and accounts here once ready.")

    def handle(self, *args: Any, port: int, json: Path | None, **options: Any) -> None:
        # `make demo` tells when it began, so that the time printed has the installation of packages in it.
        self.began = float(os.environ.get("LEFT4ME_DEMO_BEGAN") or time.time())
        settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns without it
        with self._only_one(), self._database():
            self._check_port(port)
            say("demo", "preparing the database")
            call_command("migrate", verbosity=0, interactive=False)
            call_command("createcachetable", verbosity=0)
            seeds.ensure_node()
            seeds.seed_blueprints()
            people = self._people()
            supervisor = Supervisor()
            try:
                self._run(supervisor, port, people, json)
            finally:
                supervisor.stop()
                self._farewell()

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        settings.VAR_DIR.mkdir(parents=True, exist_ok=True)
        with (settings.VAR_DIR / "demo.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise CommandError(
                    f"The demo already runs ({lock.read().strip()}). Use that one, or end it with Ctrl-C first."
                ) from None
            self.lock = lock
            self._note(f"process {os.getpid()}")
            yield

    def _note(self, text: str) -> None:
        self.lock.seek(0)
        self.lock.truncate()
        self.lock.write(text)
        self.lock.flush()

    @contextmanager
    def _database(self) -> Iterator[None]:
        if os.environ.get("DATABASE_URL"):
            yield
            return
        postgres = Postgres(settings.VAR_DIR / "postgres")
        say("demo", "starting PostgreSQL")
        try:
            postgres.start()
        except PostgresError as error:
            raise CommandError(str(error)) from error
        try:
            yield
        finally:
            connection.close()
            postgres.stop()

    @staticmethod
    def _check_port(port: int) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise CommandError(
                    f'Port {port} cannot be used ({error.strerror}). Choose another: make demo ARGS="--port {port + 1}"'
                ) from error

    @staticmethod
    def _people() -> dict[str, dict[str, str]]:
        """The two accounts and their tokens, made once and kept beside the demo's own database."""
        path = settings.VAR_DIR / "demo-accounts.json"
        people: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.exists() else {}
        for name in ("admin", "member"):
            user, made = User.objects.get_or_create(
                username=name, defaults={"is_staff": name == "admin", "is_superuser": name == "admin"}
            )
            if made or name not in people:
                people[name] = {"password": secrets.token_urlsafe(9)}
                user.set_password(people[name]["password"])
                user.save(update_fields=["password"])
            if not tokens.authenticate(people[name].get("token", "")):
                people[name]["token"] = tokens.create_token(user=user, name=f"demo {secrets.token_hex(3)}")[1]
        path.touch(mode=0o600)
        path.write_text(json.dumps(people, indent=1))
        return people

    def _run(self, supervisor: Supervisor, port: int, people: dict[str, dict[str, str]], file: Path | None) -> None:
        url = f"http://localhost:{port}"
        supervisor.start("web", "web", "--host", "127.0.0.1", "--port", str(port), LEFT4ME_DB_POOL="8")
        supervisor.start("worker", "cluster")
        supervisor.start("agent", "agent")
        if not supervisor.wait_until(lambda: wait_answering(url), seconds=60):
            if not supervisor.stopping.is_set():
                raise CommandError("The web process did not answer within 60 s; its lines above say why.")
            return
        self._note(url)
        server = self._first_server()
        if server and not supervisor.wait_until(lambda: self._settled(server), seconds=60):
            say("demo", f"{FIRST_SERVER} is not running yet; its page says why")
        self._welcome(url, people)
        if file:
            file.write_text(json.dumps({"url": url, "users": people}))
        supervisor.run()

    @staticmethod
    def _first_server() -> Server | None:
        """The member's server of the demonstration game; made and started at the first run only."""
        member = User.objects.get(username="member")
        if Server.objects.filter(owner=member).exists():
            return None
        blueprint = Blueprint.objects.get(slug="practice")
        server = services.create_server(by=member, name=FIRST_SERVER, blueprint=blueprint)
        services.start_server(by=member, server=server)
        return server

    @staticmethod
    def _settled(server: Server) -> bool:
        server.refresh_from_db(fields=["unit"])
        return server.unit in (Server.Unit.RUNNING, Server.Unit.CRASHED)

    def _welcome(self, url: str, people: dict[str, dict[str, str]]) -> None:
        for line in (
            "",
            f"left4me is ready at {url} (after {time.time() - self.began:.0f} s)",
            "",
            f"  member  {people['member']['password']}     open {FIRST_SERVER} and watch its console",
            f"  admin   {people['admin']['password']}     also moderates at {url}/admin/",
            "",
            "Ctrl-C ends it. Started again, it goes on where it was.",
            "",
        ):
            say("demo", line)

    @staticmethod
    def _farewell() -> None:
        with suppress(Exception):  # the database may be what failed
            live = [server.name for server in Server.objects.present() if server.is_live]
            if live:
                say("demo", f"still running, and found again at the next start: {', '.join(live)}")
        say("demo", "ended")
