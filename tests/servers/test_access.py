"""One policy for views, API, sockets, admin and files: who may do what with a server, a stream, a job, a topic."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils import timezone

from jobs.models import Job, Stream
from servers import access
from servers.access import FeedPolicy
from servers.models import Layer, Membership, Right, Server

EVERYTHING = frozenset(Right)


def suspend(user):
    user.suspended_at = timezone.now()
    user.save()


def make_job(subject, **fields):
    return Job.objects.create(
        kind="test", subject=subject, title="Test", node="local", stream=Stream.objects.create(), **fields
    )


def test_the_owner_and_a_moderator_may_do_everything(server, alice, mod):
    assert access.rights(alice, server) == access.rights(mod, server) == EVERYTHING


def test_a_member_may_do_what_was_given(server, bob, share):
    share(bob, Right.POWER)
    assert access.rights(bob, server) == {Right.VIEW, Right.POWER}


def test_a_stranger_and_a_visitor_may_do_nothing(server, charlie):
    assert access.rights(charlie, server) == access.rights(AnonymousUser(), server) == frozenset()


@pytest.mark.parametrize("who", ["alice", "bob", "mod"])
def test_suspension_takes_every_right(who, server, share, bob, request):
    share(bob, *Right)
    user = request.getfixturevalue(who)
    assert access.rights(user, server) == EVERYTHING
    suspend(user)
    assert access.rights(user, server) == frozenset()
    assert not FeedPolicy.topics(user)
    assert FeedPolicy.may_view_stream(user, server.console_id) is False
    assert not Server.objects.visible_to(user)


def test_a_deleted_server_is_there_for_moderators_alone(server, alice, bob, mod, share):
    share(bob, *Right)
    server.deleted_at = timezone.now()
    server.save()
    assert access.rights(alice, server) == access.rights(bob, server) == frozenset()
    assert access.rights(mod, server) == EVERYTHING
    assert not Server.objects.visible_to(alice)


def test_a_stranger_is_told_that_there_is_no_such_server(server, charlie):
    with pytest.raises(Http404):
        access.require(charlie, server, Right.VIEW)


def test_a_member_is_told_which_right_is_missing(server, bob, share):
    share(bob)
    access.require(bob, server, Right.VIEW)
    with pytest.raises(PermissionDenied, match="“rcon”"):
        access.require(bob, server, Right.RCON)


def test_only_the_owner_or_a_moderator_may_do_what_no_right_gives(server, alice, bob, charlie, mod, share):
    share(bob, *Right)
    access.require_owner(alice, server, "delete")
    access.require_owner(mod, server, "delete")
    with pytest.raises(PermissionDenied, match="delete"):
        access.require_owner(bob, server, "delete")
    with pytest.raises(Http404):
        access.require_owner(charlie, server, "delete")


def test_the_list_and_the_policy_agree_about_everybody(server, alice, bob, charlie, mod, share):
    share(bob)
    for user in (alice, bob, charlie, mod, AnonymousUser()):
        assert Server.objects.visible_to(user).exists() == (Right.VIEW in access.rights(user, server)), user


def test_prefetched_memberships_cost_no_query(server, bob, share, django_assert_num_queries):
    share(bob, Right.POWER)
    listed = Server.objects.prefetch_related("memberships").get()
    with django_assert_num_queries(0):
        assert access.rights(bob, listed) == {Right.VIEW, Right.POWER}


def test_a_console_needs_the_right_to_see_it(server, alice, bob, charlie, mod, share):
    membership = share(bob)
    assert FeedPolicy.may_view_stream(alice, server.console_id) is True
    assert FeedPolicy.may_view_stream(mod, server.console_id) is True
    assert FeedPolicy.may_view_stream(charlie, server.console_id) is False
    assert FeedPolicy.may_view_stream(bob, server.console_id) is False
    Membership.objects.filter(pk=membership.pk).update(rights=[Right.VIEW, Right.CONSOLE])
    assert FeedPolicy.may_view_stream(bob, server.console_id) is True


def test_an_unknown_stream_is_neither_allowed_nor_forbidden(alice):
    assert FeedPolicy.may_view_stream(alice, 10**9) is None


def test_a_servers_jobs_are_seen_by_viewers_and_controlled_with_power(server, alice, bob, charlie, mod, share):
    membership = share(bob)
    job = make_job(server.topic)
    assert [FeedPolicy.may_view_job(user, job) for user in (alice, bob, charlie, mod)] == [True, True, False, True]
    assert [FeedPolicy.may_cancel_job(user, job) for user in (alice, bob, charlie, mod)] == [True, False, False, True]
    assert FeedPolicy.may_view_stream(charlie, job.stream_id) is False
    Membership.objects.filter(pk=membership.pk).update(rights=[Right.VIEW, Right.POWER])
    assert FeedPolicy.may_cancel_job(bob, job)


def test_installations_are_seen_by_every_member_and_controlled_by_staff(charlie, mod):
    job = make_job("installation:local:openarena")
    assert FeedPolicy.may_view_job(charlie, job)
    assert not FeedPolicy.may_view_job(AnonymousUser(), job)
    assert not FeedPolicy.may_cancel_job(charlie, job)
    assert FeedPolicy.may_cancel_job(mod, job)


@pytest.mark.parametrize("subject", ["server:", "server:x", "server:999999", "purge:local", "", "server:٣"])
def test_jobs_about_anything_else_are_for_staff(subject, alice, mod):
    job = make_job(subject)
    assert not FeedPolicy.may_view_job(alice, job)
    assert not FeedPolicy.may_cancel_job(alice, job)
    assert FeedPolicy.may_view_job(mod, job)


def test_everybody_hears_their_own_topics_only(server, alice, bob, charlie, mod, share):
    share(bob)
    for user in (alice, bob, mod):
        assert {server.topic, f"user:{user.pk}"} <= FeedPolicy.topics(user)
    assert server.topic not in FeedPolicy.topics(charlie)
    assert f"user:{alice.pk}" not in FeedPolicy.topics(charlie)
    assert not FeedPolicy.topics(AnonymousUser())


def test_topics_cost_four_queries(server, alice, django_assert_num_queries):
    with django_assert_num_queries(4):
        FeedPolicy.topics(alice)


def test_jobs_under_way_are_heard_by_who_may_view_them(server, alice, charlie, mod):
    job, install, other = (
        make_job(subject) for subject in (server.topic, "installation:local:practice", "purge:local")
    )
    assert {f"job:{job.pk}", f"job:{install.pk}"} <= FeedPolicy.topics(alice)
    assert f"job:{job.pk}" not in FeedPolicy.topics(charlie)
    assert f"job:{other.pk}" not in FeedPolicy.topics(alice)
    assert f"job:{other.pk}" in FeedPolicy.topics(mod)


def test_many_streams_are_decided_in_four_queries(server, alice, bob, charlie, mod, share, django_assert_num_queries):
    share(bob, Right.CONSOLE)
    stranger = Stream.objects.create()
    streams = [server.console_id, stranger.pk, make_job(server.topic).stream_id, make_job("purge:local").stream_id]
    users = [alice, bob, charlie, mod]
    with django_assert_num_queries(4):
        verdicts = FeedPolicy.may_view_streams([(user, stream) for user in users for stream in streams])
    assert [[verdicts[user.pk, stream] for stream in streams] for user in users] == [
        [True, None, True, False],
        [True, None, True, False],
        [False, None, False, False],
        [True, None, True, True],
    ]


def test_jobs_of_layers_are_decided_in_two_queries_more(alice, bob, charlie, mod, django_assert_num_queries):
    layer = Layer.objects.create(slug="a", name="A", game="practice", kind="files", owner=alice, visibility="shared")
    layer.shared_with.add(bob)
    stream = make_job(layer.topic).stream_id
    users = [alice, bob, charlie, mod]
    with django_assert_num_queries(4):
        verdicts = FeedPolicy.may_view_streams([(user, stream) for user in users])
    assert [verdicts[user.pk, stream] for user in users] == [True, True, False, True]


def test_a_job_leads_to_its_server_while_there_is_one(server, alice):
    job = make_job(server.topic)
    assert FeedPolicy.subject_link(alice, job) == (server.name, f"/servers/{server.name}/")
    assert FeedPolicy.subject_link(alice, make_job("purge:local")) is None
    Server.objects.update(deleted_at=timezone.now())
    assert FeedPolicy.subject_link(alice, job) is None


def test_a_job_of_an_installation_leads_moderators_to_the_installations(alice, mod):
    job = make_job("installation:local:practice")
    assert FeedPolicy.subject_link(mod, job) == ("Installations", "/installations/")
    assert FeedPolicy.subject_link(alice, job) is None
