"""The doctor on a machine without the units, and the page that shows what it found. The rest is in tests/deploy."""

import json
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from portal.models import User
from servers.doctor import Check, State
from servers.doctor.portal import players_address
from servers.doctor.units import directives
from servers.models import HostReport, Node, Server
from servers.services import record_host_report


def found(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    with pytest.raises(SystemExit):
        call_command("doctor", "--json")
    return {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}


def test_it_looks_at_the_database_and_the_machine_everywhere(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    checks = found(capsys)
    assert {"versions", "disk", "database", "schema", "agent", "queue", "ports"} <= set(checks)
    assert checks["schema"]["state"] == "ok"
    assert checks["agent"]["state"] == "fail"
    assert "start left4me-agent" in checks["agent"]["detail"]


def test_a_stopped_servers_port_that_something_else_uses_is_told(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 0))
        server.ports.update(number=other.getsockname()[1])
        assert "used by another program" in found(capsys)["ports"]["detail"]


def test_players_who_connect_to_the_portals_own_name_are_warned_of(node: Node, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["Games.example.org", "localhost"]
    for address, state in (("games.example.org", State.WARN), ("play.example.org", State.OK)):
        Node.objects.filter(pk=node.pk).update(address=address)
        assert players_address().state == state


def test_an_agent_that_is_seen_makes_it_content(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    Node.objects.filter(pk=node.pk).update(agent_seen_at=timezone.now())
    call_command("doctor", "--json")
    assert json.loads(capsys.readouterr().out)["ok"]


def test_moderators_read_what_it_found_and_hostile_text_stays_text(node: Node, mod: User, alice: User) -> None:
    record_host_report(
        checks=[Check("mount of x", State.OK, "proven"), Check("disk", State.FAIL, "<script>alert(1)</script>")]
    )
    client = Client()
    client.force_login(mod)
    page = client.get(f"/admin/servers/hostreport/{HostReport.objects.get().pk}/change/")
    assert "mount of x" in page.text
    assert "&lt;script&gt;alert(1)" in page.text
    listed = client.get("/admin/servers/hostreport/").text
    assert "1 wrong" in listed
    assert "1 of 1" in listed
    client.force_login(alice)
    assert client.get("/admin/servers/hostreport/").status_code in (302, 403, 404)


def test_the_last_value_of_a_directive_is_the_one_in_force() -> None:
    text = "[Unit]\nAfter=x\n[Service]\nPrivateTmp=no\n# PrivateTmp=off\nPrivateTmp=yes\n"
    assert directives(text) == {"PrivateTmp": "yes"}
