"""Sharing and transfer: nobody gives what they lack, and what is taken is taken at once."""

from functools import partial

import psycopg
import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils import timezone

from jobs.events import CHANNEL
from portal.models import User
from portal.services import suspend_user
from servers import access, services
from servers.errors import CannotShare, CannotTransfer, LayerInvalid
from servers.models import AuditEvent, Membership, Right, Server, StackEntry
from tests.api import Api
from tests.servers.layered import layer
from tests.servers.racing import race


@pytest.fixture
def heard(transactional_db):
    """Topics published since the last call."""
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as session:
        session.execute(f"LISTEN {CHANNEL}")
        yield lambda: {notice.payload for notice in session.notifies(timeout=0.2)}


def test_shared_rights_are_exactly_those_given_and_the_right_to_view(alice, bob, server):
    services.share_server(by=alice, server=server, user=bob, rights=[Right.POWER, Right.RCON])
    assert access.rights(bob, server) == {Right.VIEW, Right.POWER, Right.RCON}
    services.share_server(by=alice, server=server, user=bob, rights=[])
    assert access.rights(bob, server) == {Right.VIEW}
    assert AuditEvent.objects.first().detail == {"name": server.name, "user": "bob", "rights": ["view"]}


def test_nobody_gives_a_right_they_lack(bob, charlie, server, share):
    share(bob, Right.MEMBERS, Right.POWER)
    with pytest.raises(CannotShare, match="rcon"):
        services.share_server(by=bob, server=server, user=charlie, rights=[Right.POWER, Right.RCON])
    assert not access.rights(charlie, server)
    services.share_server(by=bob, server=server, user=charlie, rights=[Right.POWER])
    assert access.rights(charlie, server) == {Right.VIEW, Right.POWER}


def test_nobody_raises_themselves(bob, server, share):
    share(bob, Right.MEMBERS)
    with pytest.raises(CannotShare):
        services.share_server(by=bob, server=server, user=bob, rights=[Right.MEMBERS, Right.FILES])


def test_nobody_takes_a_right_they_lack(bob, charlie, server, share):
    share(bob, Right.MEMBERS)
    share(charlie, Right.RCON)
    with pytest.raises(CannotShare, match="rcon"):
        services.share_server(by=bob, server=server, user=charlie, rights=[])
    with pytest.raises(CannotShare, match="rcon"):
        services.unshare_server(by=bob, server=server, user=charlie)
    assert Right.RCON in access.rights(charlie, server)


def test_the_owner_cannot_be_shared_to(alice, mod, server):
    with pytest.raises(CannotShare, match="owns"):
        services.share_server(by=mod, server=server, user=alice, rights=[Right.POWER])
    assert not Membership.objects.exists()


def test_a_suspended_user_cannot_be_shared_to(alice, bob, server):
    bob.suspended_at = timezone.now()
    bob.save()
    with pytest.raises(CannotShare, match="suspended"):
        services.share_server(by=alice, server=server, user=bob, rights=[])


def test_anybody_may_leave(bob, server, share):
    share(bob, Right.RCON)
    services.unshare_server(by=bob, server=server, user=bob)
    assert not access.rights(bob, server)


def test_a_right_taken_is_told_to_that_persons_sockets(alice, bob, server, heard):
    services.share_server(by=alice, server=server, user=bob, rights=[Right.CONSOLE])
    assert heard() == {server.topic, "servers", f"user:{bob.pk}"}
    services.share_server(by=alice, server=server, user=bob, rights=[])
    assert f"access:user:{bob.pk}" in heard()
    services.unshare_server(by=alice, server=server, user=bob)
    assert heard() == {server.topic, "servers", f"user:{bob.pk}", f"access:user:{bob.pk}"}


def test_a_transfer_leaves_the_former_owner_nothing(alice, bob, server, share, heard):
    share(bob, Right.POWER)
    services.transfer_server(by=alice, server=server, to=bob)
    server.refresh_from_db()
    assert server.owner == bob
    assert not access.rights(alice, server)
    assert not Membership.objects.exists()
    assert {f"user:{alice.pk}", f"user:{bob.pk}", f"access:user:{alice.pk}"} <= heard()
    assert AuditEvent.objects.get().detail == {"name": server.name, "former": "alice", "to": "bob"}


def test_a_transfer_to_the_owner_or_a_suspended_user_is_refused(alice, bob, server):
    with pytest.raises(CannotTransfer, match="owns"):
        services.transfer_server(by=alice, server=server, to=alice)
    bob.suspended_at = timezone.now()
    bob.save()
    with pytest.raises(CannotTransfer, match="suspended"):
        services.transfer_server(by=alice, server=server, to=bob)


def test_deleting_tells_everybody_who_saw_it(alice, bob, server, share, heard):
    share(bob)
    services.delete_server(by=alice, server=server)
    assert {server.topic, f"user:{alice.pk}", f"user:{bob.pk}", f"access:{server.topic}"} <= heard()


def test_nobody_who_was_suspended_meanwhile_is_given_anything(alice, bob, mod, server):
    suspend_user(by=mod, user=type(bob).objects.get(pk=bob.pk), reason="")
    assert bob.may_enter, "as a page had read it"
    with pytest.raises(CannotShare, match="bob is suspended"):
        services.share_server(by=alice, server=server, user=bob, rights=[Right.POWER])
    with pytest.raises(CannotTransfer, match="bob is suspended"):
        services.transfer_server(by=alice, server=server, to=bob)


@pytest.mark.django_db(transaction=True)
def test_a_server_given_away_while_its_new_owner_is_suspended_does_not_run_on(alice, bob, mod, server):
    for _ in range(5):
        Server.objects.filter(pk=server.pk).update(owner=alice, desired="run")
        User.objects.filter(pk=bob.pk).update(suspended_at=None)
        race(
            [
                lambda: services.transfer_server(by=alice, server=server, to=bob),
                lambda: suspend_user(by=mod, user=bob, reason=""),
            ]
        )
        server.refresh_from_db()
        assert (server.owner_id, server.desired) in ((alice.pk, "run"), (bob.pk, "stop"))


def test_who_may_not_manage_members_takes_nobodys_rights_by_page_api_or_service(client, bob, charlie, server, share):
    share(bob)
    there = share(charlie)
    client.force_login(bob)
    page = f"/servers/{server.name}/people/{charlie.pk}/remove/"
    assert client.post(page).status_code == 403
    assert Api(bob)("delete", f"/servers/{server.name}/members/charlie").status_code == 403
    with pytest.raises(PermissionDenied, match="“members”"):
        services.unshare_server(by=bob, server=server, user=charlie)
    with pytest.raises(PermissionDenied, match="“members”"):
        services.share_server(by=bob, server=server, user=charlie, rights=[Right.VIEW])
    assert Membership.objects.filter(pk=there.pk).exists()


def test_who_may_not_manage_members_is_not_told_who_is_one(client, alice, bob, charlie, server, share):
    share(bob)
    share(charlie)
    client.force_login(bob)
    pages = {client.post(f"/servers/{server.name}/people/{pk}/remove/").status_code for pk in (charlie.pk, 10**9)}
    asks = Api(bob)
    answers = {asks("delete", f"/servers/{server.name}/members/{name}").content for name in ("charlie", "nobody")}
    assert pages == {403}
    assert len(answers) == 1


def test_a_copy_a_limit_and_an_end_need_what_the_service_itself_asks_for(alice, bob, server, share):
    share(bob, Right.SETTINGS)
    for refused in (
        partial(services.clone_server, by=bob, server=server, name="copy"),
        partial(services.set_limits, by=alice, server=server, limits={"memory_mib": 4096}),
        partial(services.delete_server, by=bob, server=server),
    ):
        with pytest.raises(PermissionDenied):
            refused()
    assert list(Server.objects.values_list("memory_mib", "deleted_at")) == [(None, None)]


def test_a_layer_of_somebody_else_goes_on_no_stack_whoever_asks_the_service(alice, bob, server, blueprint, share):
    share(bob, Right.FILES)
    secret = layer(alice, "Secret", {"a.cfg": "x"})
    StackEntry.objects.create(blueprint=blueprint, position=0, slot="Rules")
    for refused in (
        partial(services.add_to_stack, by=bob, holder=server, layer=secret),
        partial(services.replace_stack, by=bob, holder=server, layers=[secret]),
        partial(services.create_server, by=bob, name="new", blueprint=blueprint, slots={"Rules": secret}),
    ):
        with pytest.raises(LayerInvalid, match="not for you"):
            refused()
    services.add_to_stack(by=alice, holder=server, layer=secret)
    services.replace_stack(by=bob, holder=server, layers=[secret])
    assert StackEntry.objects.filter(layer=secret).count() == 1
