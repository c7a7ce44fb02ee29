"""Clusters as processes: what stopping, killing and cancelling them or their parts leaves behind."""

import signal
import sys

import psutil
import pytest

from jobs.services import cancel
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
