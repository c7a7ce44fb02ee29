"""What the agent promises when things die: no line lost or doubled, the truth shown, the wanted brought back."""

import time
from functools import partial

from django.db import connection

from jobs.models import Job
from servers import services
from servers.models import Server
from servers.runtime import get_runtime
from servers.shown import show
from tests.servers.living import COLOURFUL, QUERY, lines_of, sees, settled, state_of
from tests.stack import wait_for

LINES = 15_000
COUNT = f"""
import time
for number in range({LINES}):
    print("line", number)
    if number % 50 == 0:
        time.sleep(0.02)
time.sleep(600)
"""
SLEEP = "import time\nprint('up')\ntime.sleep(600)\n"


def numbers(server) -> list[int]:
    return [int(line.split()[1]) for line in lines_of(server.console_id) if line.startswith("line ")]


def has_more_than(server, seen) -> bool:
    server.console.refresh_from_db()
    return bool(server.console.last_seq > seen or len(numbers(server)) >= LINES)


def test_killing_the_agent_again_and_again_loses_and_doubles_no_line(portal, scripted, alice):
    server = scripted(COUNT)
    portal.start("cluster")
    portal.start("agent")
    settled(services.start_server(by=alice, server=server))
    killed_at = []
    for _ in range(3):
        seen = server.console.last_seq
        wait_for(partial(has_more_than, server, seen), seconds=30, every=0.01, what="more lines")
        portal.kill("agent")
        killed_at.append(len(numbers(server)))
        portal.start("agent")
    assert killed_at[0] < LINES
    wait_for(lambda: len(numbers(server)) >= LINES, seconds=40, what="all lines")
    assert numbers(server) == list(range(LINES))


def test_a_broken_database_connection_is_taken_up_again(portal, scripted, alice):
    server = scripted(COUNT)
    portal.start("cluster")
    portal.start("agent")
    settled(services.start_server(by=alice, server=server))
    wait_for(lambda: numbers(server), what="the first lines")
    for _ in range(3):
        with connection.cursor() as db:
            db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                       "AND datname = current_database()")  # fmt: skip
        time.sleep(0.5)
    wait_for(lambda: len(numbers(server)) >= LINES, seconds=40, what="all lines")
    assert numbers(server) == list(range(LINES))
    assert portal.processes["agent"].poll() is None
    assert settled(services.stop_server(by=alice, server=server), 60) == "succeeded"
    sees(server, "stopped")


def test_a_game_that_ends_at_once_fails_its_start_and_its_last_lines_are_the_consoles(portal, scripted, alice):
    server = scripted("print('cannot open map')\nprint('rcon_password s3cret')\nraise SystemExit(3)\n")
    Server.objects.filter(pk=server.pk).update(secrets={"rcon": "s3cret"})
    portal.start("cluster")
    portal.start("agent")
    job = services.start_server(by=alice, server=server)
    assert settled(job) == "failed"
    assert "exit code 3" in job.error
    told = [job.error, *job.stream.lines.values_list("text", flat=True)]
    assert not any("cannot open map" in text for text in told), "whoever sees the server sees its jobs"
    sees(server, "crashed")
    assert "exit code 3" in server.unit_detail
    assert "cannot open map" not in server.unit_detail, "whoever sees the server reads this, not only its console"
    assert {"cannot open map", "rcon_password •••"} <= set(show(server, alice).last_lines)
    time.sleep(3)
    assert Job.objects.about(server.topic).count() == 1, "a start that a member saw fail is not repeated"
    again = services.start_server(by=alice, server=server)
    assert settled(again) == "failed"
    assert settled(services.stop_server(by=alice, server=server)) == "succeeded"
    sees(server, "stopped")


def test_a_crash_is_shown_while_the_runtime_restarts_it(portal, scripted, alice):
    server = scripted("import time\nprint('up')\ntime.sleep(2)\nprint('out of memory')\nraise SystemExit(4)\n")
    portal.start("cluster")
    portal.start("agent")
    assert settled(services.start_server(by=alice, server=server)) == "succeeded"
    sees(server, "restarting")
    assert "exit code 4" in server.unit_detail
    sees(server, "running")
    wait_for(lambda: lines_of(server.console_id).count("up") >= 2, what="the second run's lines")
    assert Job.objects.about(server.topic).count() == 1


def test_what_should_run_and_does_not_is_started_again_with_a_limit(portal, scripted, alice):
    server = scripted(SLEEP)
    portal.start("cluster")
    settled(services.start_server(by=alice, server=server))
    get_runtime().stop(server.name)  # as after a reboot: nobody pressed Stop
    portal.start("agent")
    wait_for(lambda: state_of(server).unit == "running", seconds=20, what="the server brought back")
    sees(server, "running")
    assert Job.objects.about(server.topic).filter(requested_by=None).count() == 1


def test_what_was_stopped_by_its_owner_stays_stopped(portal, scripted, alice):
    server = scripted(SLEEP)
    portal.start("cluster")
    portal.start("agent")
    settled(services.start_server(by=alice, server=server))
    settled(services.stop_server(by=alice, server=server))
    sees(server, "stopped")
    time.sleep(5)
    assert Job.objects.about(server.topic).count() == 2


def test_a_silent_game_is_shown_as_silent_and_left_running(portal, scripted, alice):
    server = scripted(SLEEP, more=QUERY)
    portal.start("cluster")
    portal.start("agent")
    settled(services.start_server(by=alice, server=server))
    sees(server, "running")
    pid = state_of(server).pid
    wait_for(lambda: Server.objects.get(pk=server.pk).query.get("ok") is False, seconds=40, what="silence shown")
    assert Server.objects.get(pk=server.pk).facts() == {}
    time.sleep(4)
    assert (state_of(server).unit, state_of(server).pid) == ("running", pid)
    assert Job.objects.about(server.topic).count() == 1


def test_a_secret_that_the_game_prints_is_not_shown(portal, scripted, alice):
    server = scripted("import time\nprint('rcon_password is hunter2hunter2')\ntime.sleep(600)\n")
    Server.objects.filter(pk=server.pk).update(secrets={"rcon": "hunter2hunter2"})
    portal.start("cluster")
    portal.start("agent")
    settled(services.start_server(by=alice, server=server))
    wait_for(lambda: "rcon_password is •••" in lines_of(server.console_id), what="the line without the secret")


def test_a_games_codes_for_colours_are_not_shown(portal, scripted, alice):
    server = scripted("import time\nprint('^3alice^7 entered the game')\ntime.sleep(600)\n", more=COLOURFUL)
    portal.start("cluster")
    portal.start("agent")
    settled(services.start_server(by=alice, server=server))
    wait_for(lambda: "alice entered the game" in lines_of(server.console_id), what="the line without colours")
