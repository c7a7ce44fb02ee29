"""The embedded PostgreSQL lets in nobody but the users it was made for."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from portal import postgres
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
