"""A server's whole life with a real cluster, a real agent and a real game."""

import os
import signal

from jobs.models import Job
from jobs.worker import run_job
from servers import services
from servers.agent.watch import Watch
from servers.models import Node, Server
from servers.runtime import get_runtime
from tests.servers.living import lines_of, sees, settled, state_of
from tests.stack import wait_for


def test_start_watch_stop_delete_and_restore(portal, practice, alice, mod):
    portal.start("cluster")
    portal.start("agent")
    start = services.start_server(by=alice, server=practice)
    assert settled(start) == "succeeded", (start.error, lines_of(start.stream_id))
    assert any("Running" in line for line in lines_of(start.stream_id))
    sees(practice, "running")
    wait_for(lambda: len(lines_of(practice.console_id)) > 3, what="console lines")
    wait_for(lambda: Server.objects.get(pk=practice.pk).facts().get("map") == "c1m1_hotel", what="query facts")
    practice.refresh_from_db()
    assert practice.installation.version == "1"

    answer = services.send_command(by=alice, server=practice, text="status")
    assert "c1m1_hotel" in answer
    assert "> status" in lines_of(practice.console_id)

    assert settled(services.stop_server(by=alice, server=practice)) == "succeeded"
    sees(practice, "stopped")
    assert not practice.facts()
    assert state_of(practice).pid is None

    mark = get_runtime().tree(practice.name).with_name("upper") / "mark"
    mark.write_text("kept")
    assert settled(services.delete_server(by=alice, server=practice)) == "succeeded"
    assert not mark.exists()
    assert settled(services.restore_server(by=mod, server=practice)) == "succeeded"
    assert mark.read_text() == "kept"
    assert settled(services.start_server(by=alice, server=practice)) == "succeeded"
    assert settled(services.delete_server(by=alice, server=practice)) == "succeeded"
    assert state_of(practice).pid is None
    secret = practice.secrets["rcon"]
    assert not any(secret in text for job in Job.objects.all() for text in lines_of(job.stream_id))
    assert not any(secret in text for text in lines_of(practice.console_id))


def test_the_game_outlives_every_process_of_the_portal_and_is_found_again(portal, practice, alice):
    for name in ("cluster", "agent"):
        portal.start(name)
    settled(services.start_server(by=alice, server=practice))
    sees(practice, "running")
    pid = state_of(practice).pid
    for name in ("cluster", "agent"):
        portal.kill(name)
    Server.objects.update(unit="stopped")  # as if the database had missed something meanwhile
    os.kill(pid, 0)
    for name in ("cluster", "agent"):
        portal.start(name)
    sees(practice, "running")
    assert state_of(practice).pid == pid
    again = services.start_server(by=alice, server=practice)
    assert settled(again) == "succeeded"
    assert "It is running already." in lines_of(again.stream_id)
    assert settled(services.stop_server(by=alice, server=practice)) == "succeeded"
    assert state_of(practice).pid is None


def test_the_agent_beats_and_a_second_one_refuses(portal, practice, node):
    portal.start("agent")
    wait_for(lambda: Node.objects.get().agent_seen_at, what="a heartbeat")
    second = portal.start("agent", name="second")
    assert second.wait(40) == 1
    assert "An agent of the node local runs already" in (portal.folder / "second.log").read_text()
    first = portal.processes["agent"]
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0


def test_a_restart_too_quick_for_the_agent_to_see_begins_a_new_run(portal, practice, alice, node):
    """The agent that looks is this process, so that it looks just before and just after."""
    watch = Watch(node)
    run_job(services.start_server(by=alice, server=practice).pk)
    watch.step()
    practice.refresh_from_db()
    began = practice.unit_at
    services.record_query(server=practice, query={"map": "old"}, publish=False)
    run_job(services.restart_server(by=alice, server=practice).pk)
    watch.scan_soon()
    watch.step()
    practice.refresh_from_db()
    assert (practice.unit, practice.query) == ("running", {})
    assert practice.unit_at == state_of(practice).since > began
    services.record_query(server=practice, query={"map": "new"}, publish=False)
    watch.scan_soon()
    watch.step()
    practice.refresh_from_db()
    assert practice.query == {"map": "new"}, "the same run keeps its answer"
