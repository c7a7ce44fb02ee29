"""The embedded PostgreSQL lets in nobody but the users it was made for."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from portal import postgres
from portal.postgres_place import Place, server_user
from tests import environment


def test_it_listens_on_no_tcp_port(db):
    with connection.cursor() as cursor:
        cursor.execute("SHOW listen_addresses")
        assert cursor.fetchone() == ("",)


def test_every_login_rule_is_peer(db):
    if environment.postgres is None:
        pytest.skip("DATABASE_URL names a server that is not ours")
    rules = (environment.postgres.data / "pg_hba.conf").read_text().split("\n")
    assert [rule for rule in rules if rule] == ["local all left4me peer map=left4me"]


def test_a_killed_starter_takes_the_server_with_it_and_the_next_start_waits():
    folder = Path(tempfile.mkdtemp(prefix="left4me-pg-"))
    folder.chmod(0o755)
    try:
        starter = subprocess.Popen(
            [sys.executable, "-m", "portal.postgres", str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert starter.stdout
        url = starter.stdout.readline().strip()
        with psycopg.connect(url, autocommit=True) as before:
            before.execute("CREATE TABLE kept AS SELECT 1 AS one")
        starter.kill()
        starter.wait()
        with postgres.running(folder) as again, psycopg.connect(again.url) as after:
            assert after.execute("SELECT one FROM kept").fetchone() == (1,)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgres, "NEW_NEEDS_BYTES", 2**60)
    server = postgres.Postgres(tmp_path / "postgres")
    try:
        with pytest.raises(
            postgres.PostgresError, match=r"is full: \d+ MB are left, .* Make room there and try again\."
        ):
            server.start()
        assert not server.data.exists()
    finally:
        server.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="only under root the server is another user, who has a copy")
def test_neither_a_partial_nor_an_older_copy_of_the_programs_is_used(tmp_path: Path):
    root = tmp_path / "postgres"  # below a folder of pytest's that others may not enter
    place = Place(root, server_user())
    place.make()
    try:
        for stale in ("pginstall", "programs-1.0", "programs-partial"):
            (place.folder / stale / "bin").mkdir(parents=True)
        with postgres.running(root) as server, psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        kept = sorted(path.name for path in place.folder.glob("p*g*") if path.is_dir())
        assert kept == [place.programs().parents[2].name]
    finally:
        place.remove()
    assert not place.folder.exists()


def test_a_checkout_made_later_at_the_same_path_has_a_database_of_its_own(tmp_path: Path):
    root = tmp_path / "postgres"
    places = []
    for _ in range(2):
        shutil.rmtree(root, ignore_errors=True)
        with postgres.running(root) as server, psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE mine AS SELECT 1")
        places.append(server)
    for server in places:
        server.remove()


def test_a_socket_folder_that_somebody_else_has_made_is_not_used():
    outer = Path(tempfile.mkdtemp(prefix="left4me-pg-"))
    outer.chmod(0o755)
    root = outer / ("deep" * 30)
    place = Place(root, server_user())
    place.make()
    first = place.socket
    try:
        assert first.parent in (Path("/run"), Path("/tmp"))
        place.make()
        assert place.socket == first, "the same again at the next start"
        first.chmod(0o777)
        place.make()
        assert place.socket != first
    finally:
        place.remove()
        shutil.rmtree(first)
        shutil.rmtree(outer)
