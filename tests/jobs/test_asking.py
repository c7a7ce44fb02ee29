"""Enqueue, cancel, retry, follow, coalesce: what the services promise, and what the database then holds."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from jobs import reaper, services
from jobs.broker import Broker
from jobs.errors import NotRetryable, TooManyJobs
from jobs.locks import JOB
from jobs.models import Job, Stream
from jobs.transitions import claim
from jobs.worker import run_job
from portal.models import User
from tests.engine.clusters import ask, lines_of, state_of

pytestmark = pytest.mark.django_db(transaction=True)


def deliveries() -> list[int]:
    """The jobs the queue would deliver now, in order; takes them."""
    broker, found = Broker("local"), []
    while OrmQ.objects.exists():
        for number, _payload in broker.dequeue() or []:
            row = OrmQ.objects.get(pk=number)
            found.append(row.task["args"][0])
            row.delete()
    return found


def test_a_rollback_of_the_caller_leaves_neither_job_nor_stream_nor_queue_row() -> None:
    with transaction.atomic():
        ask("say", text="x")
        transaction.set_rollback(True)
    assert (Job.objects.count(), Stream.objects.count(), OrmQ.objects.count()) == (0, 0, 0)


def test_the_callback_gets_the_job_once_it_is_committed() -> None:
    seen = []
    with transaction.atomic():
        job = ask("say", text="x", on_commit=seen.append)
        assert not seen
    assert seen == [job]


def test_the_queue_delivers_in_order_and_a_taken_row_is_hidden() -> None:
    jobs = [ask("say", f"thing:{number}", text="x") for number in range(3)]
    first, second = Broker("local"), Broker("local")
    taken = [broker.dequeue()[0][0] for broker in (first, second, first)]  # type: ignore[index]
    assert taken == [job.delivery for job in jobs]
    assert second.dequeue() is None


def test_enqueueing_asks_the_database_a_bounded_number_of_times(django_assert_max_num_queries) -> None:
    with django_assert_max_num_queries(7):
        ask("say", text="x")


def test_cancelling_a_queued_job_ends_it_at_once_and_lets_the_next_go(alice: User) -> None:
    first, second = ask("say", text="1"), ask("say", text="2")
    assert deliveries() == [first.pk, second.pk]
    run_job(second.pk)  # not its turn: this delivery is used up
    assert services.cancel(job=first, by=alice)
    first.refresh_from_db()
    assert (first.state, first.error) == ("cancelled", "Cancelled by alice.")
    assert deliveries() == [second.pk]
    assert not services.cancel(job=first)


def test_the_end_of_a_job_delivers_the_next_of_its_subject_whose_delivery_came_too_early() -> None:
    first, second = ask("say", text="1"), ask("say", text="2")
    assert deliveries() == [first.pk, second.pk]
    run_job(second.pk)
    run_job(first.pk)
    assert deliveries() == [second.pk]


def test_a_follower_waits_for_its_predecessor_on_another_subject() -> None:
    build = ask("say", "build:1", text="x")
    start = ask("say", "server:1", text="y", after=build)
    assert deliveries() == [build.pk]
    run_job(start.pk)
    assert state_of(start) == "queued"
    run_job(build.pk)
    assert deliveries() == [start.pk]
    run_job(start.pk)
    assert state_of(start) == "succeeded"


@pytest.mark.parametrize("how", ["failed", "cancelled", "before"])
def test_followers_of_a_job_that_does_not_succeed_fail_with_a_sentence(how: str) -> None:
    build = ask("refuse", "build:1", title="Build the map")
    if how == "before":
        run_job(build.pk)
    start = ask("say", "server:1", text="y", after=build)
    join = ask("say", "server:2", text="z", after=start)
    services.cancel(job=build) if how == "cancelled" else run_job(build.pk)
    for job in (start, join):
        assert job.pk in deliveries()
        run_job(job.pk)
    start.refresh_from_db()
    assert (start.state, state_of(join)) == ("failed", "failed")
    assert start.error.startswith("“Build the map” came first and did not succeed: ")
    build.refresh_from_db()
    assert build.error
    assert start.error.endswith(build.error)


def test_coalescing_returns_the_newest_equal_job_that_still_waits() -> None:
    first = ask("say", text="x", coalesce=True)
    assert ask("say", text="x", coalesce=True) == first
    assert ask("say", text="y", coalesce=True) != first
    third = ask("say", text="x", coalesce=True)  # after “y”, so it must not be taken for the first
    assert third != first
    for job in Job.objects.order_by("pk"):
        run_job(job.pk)
    assert ask("say", text="x", coalesce=True) not in (first, third)


def test_a_job_that_did_not_succeed_can_be_run_again_once(alice: User) -> None:
    failed = ask("refuse")
    with pytest.raises(NotRetryable, match="has not ended"):
        services.retry(job=failed)
    run_job(failed.pk)
    again = services.retry(job=failed, by=alice)
    assert (again.retry_of, again.requested_by, again.kind, again.subject) == (failed, alice, "test.refuse", "thing:1")
    assert services.retry(job=failed) == again


def test_what_a_job_follows_comes_again_first_unless_it_succeeded(alice: User) -> None:
    build = ask("refuse", "build:1")
    start = ask("say", "server:1", text="y", after=build)
    for job in (build, start):
        run_job(job.pk)
    again = services.retry(job=start, by=alice)
    assert again.after
    assert (again.after.retry_of, again.after.requested_by) == (build, alice)
    assert services.retry(job=start) == again
    Job.objects.filter(pk=again.after.pk).update(state="succeeded", finished_at=again.created_at)
    services.cancel(job=again)
    assert services.retry(job=again).after == again.after


def test_a_job_that_succeeded_or_whose_kind_forbids_it_cannot_be_run_again() -> None:
    done, forbidden, gone = ask("say", "thing:1", text="x"), ask("stubborn", "thing:2"), ask("refuse", "thing:3")
    run_job(done.pk)
    services.cancel(job=forbidden)
    run_job(gone.pk)
    Job.objects.filter(pk=gone.pk).update(kind="test.gone")
    for job in (done, forbidden, gone):
        with pytest.raises(NotRetryable, match="cannot be run again"):
            services.retry(job=job)


def test_asking_a_running_job_to_stop_is_noted_once_in_its_log(alice: User) -> None:
    job = ask("say", text="x")
    Job.objects.filter(pk=job.pk).update(state="running", started_at=job.created_at)
    assert services.cancel(job=job, by=alice)
    assert not services.cancel(job=job, by=alice)
    assert lines_of(job) == ["Cancel asked for by alice."]


def test_every_change_of_state_is_told_under_the_subject_and_the_job() -> None:
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as listener:
        listener.execute("LISTEN left4me_events")
        job = ask("say", "server:9", text="x")
        run_job(job.pk)
        told = [notify.payload for notify in listener.notifies(timeout=5, stop_after=6)]
    assert sorted(told) == sorted(["server:9", f"job:{job.pk}"] * 3)


def test_the_age_of_the_queue_is_that_of_its_oldest_free_row() -> None:
    assert services.queue_age() == 0
    ask("say", text="x")
    with connection.cursor() as db:
        db.execute("UPDATE django_q_ormq SET lock = lock - interval '90 seconds'")
    ask("say", text="its turn comes later")
    assert 90 <= services.queue_age() < 100


def test_a_bulk_job_that_waits_while_others_run_does_not_age_the_queue() -> None:
    ask("bulk", lines=1, seconds=0)
    with connection.cursor() as db:
        db.execute("UPDATE django_q_ormq SET lock = lock - interval '90 seconds'")
    assert services.queue_age() >= 90
    Job.objects.filter(pk=ask("say", "thing:2", text="x").pk).update(state="running", started_at=timezone.now())
    assert services.queue_age() < 60


def at_once(times: int, call: Callable[[], Job]) -> list[Job]:
    """What so many calls return, each in a thread and with a connection of its own."""

    def within(_number: int) -> Job:
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(within, range(times)))


@pytest.mark.parametrize("state", ["queued", "running"])
def test_twenty_presses_at_once_are_one_job(alice: User, state: str) -> None:
    first = ask("say", text="x", requested_by=alice, join=Job.ACTIVE)
    if state == "running":
        assert claim(first.pk)
    assert {*at_once(20, lambda: ask("say", text="x", requested_by=alice, join=Job.ACTIVE))} == {first}
    assert Job.objects.count() == 1


@pytest.mark.parametrize("why", ["another's", "other words", "later", "cancelled", "something between"])
def test_presses_that_are_not_the_same_are_not_joined(alice: User, bob: User, why: str) -> None:
    first = ask("say", text="x", requested_by=alice)
    claim(first.pk)
    if why == "later":
        Job.objects.update(created_at=timezone.now() - timedelta(seconds=6))
    if why == "cancelled":
        services.cancel(job=first)
    if why == "something between":
        ask("halfway", requested_by=alice)
    by, text = (bob if why == "another's" else alice), ("y" if why == "other words" else "x")
    assert ask("say", text=text, requested_by=by, join=Job.ACTIVE) != first


def test_a_subject_and_a_member_have_so_many_jobs_and_no_more(alice: User, bob: User, mod: User) -> None:
    for _ in range(services.MOST_WAITING):
        ask("say", text="x", requested_by=alice)
    with pytest.raises(TooManyJobs, match="wait for this already"):
        ask("say", text="x", requested_by=bob)
    for by in (mod, None):
        assert ask("say", text="x", requested_by=by)
    for number in range(services.MOST_OF_MEMBER - services.MOST_WAITING):
        ask("say", f"thing:{number + 2}", text="x", requested_by=alice)
    with pytest.raises(TooManyJobs, match="You have 200 jobs"):
        ask("say", "thing:0", text="x", requested_by=alice)
    assert ask("say", "thing:0", text="x", requested_by=bob)


def test_requests_at_once_do_not_pass_the_limit(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MOST_OF_MEMBER", 3)
    subjects = count()

    def try_it() -> Job | None:
        try:
            return ask("say", f"thing:{next(subjects)}", text="x", requested_by=alice)
        except TooManyJobs:
            return None

    assert at_once(12, try_it).count(None) == 9  # type: ignore[arg-type]
    assert Job.objects.count() == 3


def test_the_reaper_delivers_again_what_lost_its_queue_row() -> None:
    first, _second = ask("say", text="x"), ask("say", text="y")
    OrmQ.objects.all().delete()
    assert reaper.run_once() == 1
    assert deliveries() == [first.pk]


def test_the_reaper_ends_followers_that_no_cluster_took_up() -> None:
    build = ask("refuse", "build:1")
    start = ask("say", "server:1", text="y", after=build)
    run_job(build.pk)
    assert reaper.run_once() == 1
    assert state_of(start) == "failed"
    assert not OrmQ.objects.filter(pk=start.delivery).exists()


def test_the_reaper_takes_a_silent_job_for_lost_only_if_nobody_holds_it() -> None:
    silent, fresh = ask("say", "thing:1", text="x"), ask("say", "thing:2", text="x")
    with connection.cursor() as db:
        db.execute("UPDATE jobs_job SET state = 'running', started_at = now(), beat_at = now()")
        db.execute("UPDATE jobs_job SET beat_at = now() - interval '31 seconds' WHERE id = %s", [silent.pk])
        holder = connection.copy()
        with holder.cursor() as other:
            other.execute("SELECT pg_advisory_lock(%s, %s)", [JOB, silent.pk])
        assert reaper.run_once() == 0
        holder.close()
    assert reaper.run_once() == 1
    assert (state_of(silent), state_of(fresh)) == ("lost", "running")
