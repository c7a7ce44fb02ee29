"""The embedded PostgreSQL lets in nobody but the users it was made for."""

from django.db import connection

from tests import environment


def test_it_listens_on_no_tcp_port(db):
    with connection.cursor() as cursor:
        cursor.execute("SHOW listen_addresses")
        assert cursor.fetchone() == ("",)


def test_every_login_rule_is_peer(db):
    if environment.postgres is None:
        return
    rules = (environment.postgres.data / "pg_hba.conf").read_text().split("\n")
    assert [rule for rule in rules if rule] == ["local all left4me peer map=left4me"]
