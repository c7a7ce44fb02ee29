"""`manage.py demo`: the whole portal on one machine, for a first look. No root, no services, nothing outside var/."""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.db import OperationalError, connection

from portal import tokens, tools
from portal.models import User
from portal.postgres import Postgres
from portal.postgres_place import PostgresError
from portal.reach import Reach, ReachError
from portal.ready_file import ReadyFile, ReadyFileError
from portal.supervisor import Supervisor, Watched, say
from portal.var_folder import why_unusable
from servers import seeds, services
from servers.models import Blueprint, Node, Server

FIRST_SERVER = "practice"


def wait_answering(url: str) -> bool:
    """Whether the web process answers its health check."""
    directly = build_opener(ProxyHandler({}))  # our own address, whatever http_proxy says
    with suppress(URLError, OSError), directly.open(f"{url}/healthz", timeout=2) as answer:
        return bool(answer.status == 200)
    return False


class Database(Watched):
    """The demo's own PostgreSQL, which `_database` ends after all others."""

    def __init__(self, postgres: Postgres) -> None:
        super().__init__("PostgreSQL")
        self.postgres = postgres
        self.start()

    def start(self) -> None:
        connection.close()  # it led to a server that has ended
        self.postgres.start()
        assert self.postgres.process
        self.process = self.postgres.process

    def watch(self) -> None:
        try:
            super().watch()
        except PostgresError as error:
            say("demo", str(error))


class Command(BaseCommand):
    help = "Run the whole portal on this machine: PostgreSQL, web, worker, agent and a first game server."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="Port of the web page (8000).")
        parser.add_argument(
            "--host",
            default="127.0.0.1",
            help="Address of this machine to serve; 0.0.0.0 for all (127.0.0.1: nobody else).",
        )
        parser.add_argument(
            "--public", action="store_true", help="Serve a public address too, which is refused otherwise."
        )
        parser.add_argument("--json", type=Path, metavar="FILE", help="Write address and accounts here once ready.")

    def handle(self, *args: Any, host: str, port: int, public: bool, json: Path | None, **options: Any) -> None:
        # `make demo` tells when it began, so that the time printed has the installation of packages in it.
        self.began = float(os.environ.get("LEFT4ME_DEMO_BEGAN") or time.time())
        ready = ReadyFile(json) if json else None
        self.supervisor = Supervisor()  # from now on a signal ends it in order
        try:
            with self._only_one():
                tools.require("setpriv")
                if ready:
                    ready.prepare()
                self.reach = Reach.of(host, port)
                if not public:
                    self.reach.refuse_public()
                with self._database():
                    self._serve(ready)
        except (PostgresError, ReachError, ReadyFileError, tools.MissingTool) as error:
            raise CommandError(str(error)) from error

    def _serve(self, ready: ReadyFile | None) -> None:
        if self.supervisor.told_to_stop():
            say("demo", "ended")
            return
        say("demo", "preparing the database")
        call_command("migrate", verbosity=0, interactive=False)
        call_command("createcachetable", verbosity=0)
        node = seeds.ensure_node()
        Node.objects.filter(pk=node.pk).update(address=self.reach.players)
        seeds.seed_blueprints()
        people = self._people()
        try:
            if not self.supervisor.told_to_stop():
                self._run(people, ready)
        finally:
            self.supervisor.stop()
            self._farewell()

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        with self._open_lock() as lock:
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

    @staticmethod
    def _open_lock() -> TextIO:
        """Tells first of all whether the folder is ours to use."""
        try:
            settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns without it
            return (settings.VAR_DIR / "demo.lock").open("a+")
        except OSError as error:
            raise CommandError(why_unusable(settings.VAR_DIR, error)) from error

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
        self.supervisor.watched.append(Database(postgres))
        # The settings were read before the first start had decided where the socket is; what we start inherits it.
        os.environ["DATABASE_URL"] = postgres.url
        connection.settings_dict["HOST"] = str(postgres.place.socket)
        try:
            yield
        finally:
            connection.close()
            postgres.stop()

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

    def _run(self, people: dict[str, dict[str, str]], ready: ReadyFile | None) -> None:
        reach, supervisor = self.reach, self.supervisor
        hosts = " ".join([*settings.ALLOWED_HOSTS, *reach.hosts])
        os.environ["LEFT4ME_GAMES_BIND"] = str(reach.address)  # for all that is started here
        where = ("--host", str(reach.address), "--port", str(reach.port))
        supervisor.start("web", "web", *where, "--public", LEFT4ME_DB_POOL="8", LEFT4ME_HOSTS=hosts)
        supervisor.start("worker", "cluster")
        supervisor.start("agent", "agent")
        if not supervisor.wait_until(lambda: wait_answering(reach.probe), seconds=60):
            if not supervisor.stopping.is_set():
                raise CommandError("The web process did not answer within 60 s; its lines above say why.")
            return
        self._note(f"process {os.getpid()}, {reach.url}")
        server = self._first_server()
        if server and not supervisor.wait_until(lambda: self._settled(server), seconds=60):
            say("demo", f"{FIRST_SERVER} is not running yet; its page says why")
        self._welcome(people)
        if ready:
            ready.write({"url": reach.url, "users": people})
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
        with suppress(OperationalError):  # PostgreSQL is being started again
            server.refresh_from_db(fields=["unit"])
        return server.unit in (Server.Unit.RUNNING, Server.Unit.CRASHED)

    def _welcome(self, people: dict[str, dict[str, str]]) -> None:
        url = self.reach.url
        for line in (
            "",
            f"left4me is ready at {url} (after {time.time() - self.began:.0f} s)",
            "",
            f"  member  {people['member']['password']}     open {FIRST_SERVER} and watch its console",
            f"  admin   {people['admin']['password']}     also moderates at {url}/admin/",
            "",
            *self._paragraph(self.reach.warning()),
            *self._paragraph(self.reach.ssh(os.environ)),
            "Ctrl-C ends it. Started again, it goes on where it was.",
            "",
        ):
            say("demo", line)

    @staticmethod
    def _paragraph(lines: list[str]) -> list[str]:
        return [*lines, ""] if lines else []

    @staticmethod
    def _farewell() -> None:
        with suppress(Exception):  # the database may be what failed
            live = [server.name for server in Server.objects.present() if server.is_live]
            if live:
                say("demo", f"still running, and found again at the next start: {', '.join(live)}")
        say("demo", "ended")
