"""Clusters as processes: what stopping, killing and cancelling them or their parts leaves behind."""

import signal
import sys
from datetime import timedelta

import psutil
import pytest
from django.db.models.functions import Now

from jobs.models import Job
from jobs.services import cancel
from portal.models import User
from tests.engine.clusters import Clusters, ask, group_lives, lines_of, wait_until
from tests.stack import wait_for


def test_a_handler_that_ignores_even_the_interrupt_is_ended_with_its_process(clusters: Clusters) -> None:
    clusters.start_cluster(workers=1)
    job = ask("stubborn")
    wait_until(job, "running")
    cancel(job=job)
    assert wait_until(job, "cancelled", seconds=40).error == "Cancelled while it ran."
    assert wait_until(ask("say", text="next"), "succeeded")
    assert sorted(lines_of(job)) == ["Cancel asked for.", "will not stop"]


def test_killing_idle_workers_pusher_and_monitor_leaves_a_cluster_that_works(clusters: Clusters) -> None:
    clusters.start_cluster(workers=2)
    wait_until(ask("say", text="up"), "succeeded")
    killed = clusters.children("cluster")
    assert len(killed) == 4
    for child in killed:
        child.kill()
    wait_for(lambda: len({*clusters.children("cluster")} - {*killed}) == 4, what="four new children")
    assert wait_until(ask("say", text="up again"), "succeeded")


@pytest.mark.parametrize("victim", ["main", "sentinel"])
def test_killing_what_holds_a_cluster_together_ends_all_of_it_and_its_programs(
    clusters: Clusters,
    victim: str,
) -> None:
    clusters.start_cluster(workers=2)
    job = ask("program", argv=["sh", "-c", "echo $$; exec sleep 63"])
    wait_for(lambda: lines_of(job), what="the program's first line")
    main = psutil.Process(clusters.processes["cluster"].pid)
    family = main.children(recursive=True)
    (main if victim == "main" else main.children()[0]).kill()
    assert clusters.processes["cluster"].wait(10) != 0
    wait_for(lambda: not [one for one in family if one.is_running()], what="everybody of the cluster gone")
    assert not group_lives(int(lines_of(job)[0]))


def test_a_cluster_told_to_stop_lets_running_jobs_finish_and_takes_no_more(clusters: Clusters) -> None:
    clusters.start_cluster(workers=1)
    running, waiting = ask("count", lines=20, seconds=2), ask("say", text="later")
    wait_until(running, "running")
    main = clusters.processes["cluster"]
    main.send_signal(signal.SIGTERM)
    assert main.wait(15) == 0
    assert wait_until(running, "succeeded", seconds=0.1)
    assert wait_until(waiting, "queued", seconds=0.1)


def test_a_job_that_outlasts_the_patience_of_a_stopping_cluster_ends_with_a_sentence(clusters: Clusters) -> None:
    clusters.start_cluster(workers=1, patience=1)
    job = ask("deaf")
    wait_until(job, "running")
    main = clusters.processes["cluster"]
    main.send_signal(signal.SIGINT)
    assert main.wait(40) == 0
    ended = wait_until(job, "cancelled", seconds=0.1)
    assert ended.error == "The worker was shut down before this was done. Try again."


def test_a_program_started_by_a_job_does_not_inherit_our_secrets_or_ignored_signals(clusters: Clusters) -> None:
    clusters.start_cluster(workers=1)
    script = "import os, signal; print(sorted(os.environ), signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    job = wait_until(ask("program", argv=[sys.executable, "-c", script]), "succeeded")
    assert "LEFT4ME_SECRET_KEY" not in lines_of(job)[0]
    assert "DATABASE_URL" not in lines_of(job)[0]
    assert lines_of(job)[0].endswith("] False")


def in_order_of_start() -> list[str]:
    return list(Job.objects.order_by("started_at").values_list("requested_by__username", flat=True))


@pytest.mark.parametrize("kind", ["count", "bulk"])
def test_a_hundred_jobs_of_alice_let_bobs_single_one_through_after_one(
    clusters: Clusters, alice: User, bob: User, kind: str
) -> None:
    hundred = [ask(kind, f"thing:{n}", lines=1, seconds=0, requested_by=alice) for n in range(100)]
    single = ask(kind, "thing:bob", lines=1, seconds=0, requested_by=bob)
    clusters.start_cluster(workers=1)
    wait_until(single, "succeeded")
    wait_until(hundred[10], "succeeded")
    assert in_order_of_start().index("bob") <= 1


def test_bobs_job_gets_the_worker_that_the_next_of_alices_running_jobs_leaves(
    clusters: Clusters, alice: User, bob: User
) -> None:
    clusters.start_cluster(workers=2)
    running = [ask("count", f"thing:{n}", lines=600, seconds=60, requested_by=alice) for n in range(100)][:2]
    for job in running:
        wait_until(job, "running")
    single = ask("say", "thing:bob", text="x", requested_by=bob)
    cancel(job=running[0])
    wait_until(single, "succeeded")
    assert in_order_of_start()[:3] == ["alice", "alice", "bob"]


def test_bulk_jobs_that_hang_leave_a_worker_to_a_start(clusters: Clusters, alice: User, bob: User) -> None:
    clusters.start_cluster(workers=4)
    members = [alice, bob, *(User.objects.create_user(name) for name in ("dora", "emil"))]
    hanging = [ask("bulk", f"layer:{one}", lines=600, seconds=60, requested_by=one) for one in members]
    for job in hanging[:3]:
        wait_until(job, "running")
    for number in range(3):
        assert wait_until(ask("say", f"server:{number}", text="x", requested_by=alice), "succeeded")
    assert wait_until(hanging[3], "queued", seconds=0.1)
    cancel(job=hanging[0])
    wait_until(hanging[3], "running")


def test_killed_workers_and_clusters_do_not_widen_a_members_share(clusters: Clusters, alice: User, bob: User) -> None:
    clusters.start_cluster(workers=4)
    jobs = [ask("bulk", f"layer:{n}", lines=600, seconds=60, requested_by=alice) for n in range(8)]

    def at_work() -> int:
        """Jobs of alice's that show signs of life: those of the dead are lost only later."""
        lately = Now() - timedelta(seconds=3)
        return Job.objects.filter(state="running", requested_by=alice, beat_at__gt=lately).count()

    for victim in ("worker", "cluster"):
        wait_for(lambda: at_work() == 2, what="two builds at work")
        started = Job.objects.exclude(started_at=None).count()
        if victim == "worker":
            busy = [child for child in clusters.children("cluster") if child.num_threads() > 1]
            busy[0].kill()
        else:
            clusters.kill("cluster")
            clusters.start_cluster(workers=4)
        wait_for(lambda before=started: Job.objects.exclude(started_at=None).count() > before, what="the next build")
        assert wait_until(ask("say", f"server:{victim}", text="x", requested_by=bob), "succeeded")
        assert at_work() <= 3  # one of them may be dead for less than three seconds
    wait_for(lambda: Job.objects.filter(state="lost").count() == 3, seconds=60, what="the killed ones lost")
    assert at_work() == 2
    assert wait_until(jobs[-1], "queued", seconds=0.1)
