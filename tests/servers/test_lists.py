"""Lists of servers cost the same number of queries however long they are."""

import pytest

from servers import access, services
from servers.models import Right, Server


@pytest.mark.parametrize("count", [1, 9])
def test_a_list_costs_at_most_six_queries(alice, bob, blueprint, count, django_assert_max_num_queries):
    for number in range(count):
        made = services.create_server(by=alice, name=f"s{number}", blueprint=blueprint)
        services.share_server(by=alice, server=made, user=bob, rights=[Right.POWER])
        services.start_server(by=alice, server=made)
    with django_assert_max_num_queries(6):
        for server in Server.objects.visible_to(bob).for_list():
            assert server.latest_job["title"] == f"Start {server.name}"
            assert (server.owner.username, server.node.slug, server.blueprint.slug) == ("alice", "local", "practice")
            assert server.installation is None
            assert len(server.ports.all()) == 1
            assert access.rights(bob, server) == {Right.VIEW, Right.POWER}


def test_a_server_without_jobs_has_no_latest_job(server):
    assert Server.objects.for_list().get().latest_job is None
