"""What becomes of one job, run by the worker's own code in this process."""

import sys
import threading
import time
from collections.abc import Callable

import pytest
from django.db import connection

from jobs import lease, registry
from jobs.models import Job
from jobs.services import cancel
from jobs.worker import OTHER_VERSION, UNEXPECTED, run_job
from tests.engine.clusters import ask, group_lives, lines_of
from tests.stack import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


def run(job: Job) -> Job:
    run_job(job.pk)
    return Job.objects.get(pk=job.pk)


def meanwhile(act: Callable[[], object]) -> threading.Thread:
    """Do something from another session while the job has this thread."""

    def work() -> None:
        try:
            act()
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_job_runs_once_and_its_lines_are_in_its_stream() -> None:
    job = ask("say", text="one\ntwo")
    assert run(job).state == "succeeded"
    run_job(job.pk)
    assert lines_of(job) == ["one", "two"]


def test_the_last_progress_of_a_short_job_is_kept() -> None:
    assert run(ask("halfway")).progress == 50


def test_an_expected_failure_is_the_sentence_a_member_reads() -> None:
    ended = run(ask("refuse"))
    assert (ended.state, ended.error) == ("failed", "The disk is full. Delete something, then try again.")


def test_an_unexpected_failure_shows_a_general_sentence_and_its_last_line_in_the_log(caplog) -> None:
    ended = run(ask("crash"))
    assert (ended.state, ended.error) == ("failed", UNEXPECTED)
    assert lines_of(ended) == ["ZeroDivisionError: one by none"]
    assert "Traceback" in caplog.text


def test_a_job_of_a_kind_or_with_arguments_of_another_version_fails_with_a_sentence() -> None:
    unknown, misfit = ask("say", "thing:1", text="x"), ask("say", "thing:2", text="x")
    Job.objects.filter(pk=unknown.pk).update(kind="test.gone")
    Job.objects.filter(pk=misfit.pk).update(args={"words": 3})
    assert [run(job).error for job in (unknown, misfit)] == [OTHER_VERSION] * 2


def test_jobs_of_a_subject_run_in_the_order_they_were_asked_for() -> None:
    first, second, other = ask("say", text="1"), ask("say", text="2"), ask("say", "thing:2", text="3")
    assert run(second).state == "queued"
    assert run(other).state == "succeeded"
    assert run(first).state == "succeeded"
    assert run(second).state == "succeeded"


def test_a_cancelled_job_stops_where_it_asks() -> None:
    job = ask("count", lines=400, seconds=20)
    cancelling = meanwhile(lambda: (wait_for(lambda: lines_of(job)), cancel(job=job)))
    began = time.monotonic()
    ended = run(job)
    cancelling.join()
    assert (ended.state, ended.error) == ("cancelled", "Cancelled while it ran.")
    assert time.monotonic() - began < 10
    assert len(lines_of(job)) < 200


def test_a_job_past_its_time_limit_fails_and_says_so(monkeypatch) -> None:
    monkeypatch.setattr(lease, "GRACE", 0.5)
    ended = run(ask("deaf", time_limit=1))
    assert (ended.state, ended.error.split(" seconds")[0]) == ("failed", "It took longer than 1")


def test_a_deadline_ends_a_running_program_and_its_children() -> None:
    job = ask("program", argv=["sh", "-c", "echo $$; sleep 61 & sleep 62"], time_limit=1)
    assert run(job).state == "failed"
    group = int(lines_of(job)[0])
    wait_for(lambda: not group_lives(group), what="the program's process group gone")


def test_a_program_that_fails_or_is_not_there_fails_the_job_with_a_sentence() -> None:
    failed = run(ask("program", argv=["sh", "-c", "echo no space left >&2; exit 3"]))
    assert failed.error == "sh ended with code 3. The lines above say why."
    assert lines_of(failed) == ["no space left"]
    missing = run(ask("program", argv=["no-such-program"]))
    assert missing.error == "The program no-such-program is not on this machine. Ask an admin to install it."
    slow = run(ask("program", argv=["sleep", "60"], timeout=0.5))
    assert slow.error.startswith("sleep did not finish within")


HOSTILE = r"b'a\x1b[31mred\x1b[0m\x00b\n\xff\xfe\n' + b'x' * 300_000 + b'\nno newline'"


def test_hostile_output_becomes_plain_bounded_lines() -> None:
    job = ask("program", argv=[sys.executable, "-c", f"import sys; sys.stdout.buffer.write({HOSTILE})"])
    assert run(job).state == "succeeded"
    lines = lines_of(job)
    assert lines[:2] == ["aredb", "\ufffd\ufffd"]
    assert lines[-1] == "no newline"
    assert max(map(len, lines)) == 4096


def test_more_lines_than_the_buffer_holds_make_the_job_wait_and_all_arrive() -> None:
    job = ask("say", text="\n".join(map(str, range(5000))))
    assert run(job).state == "succeeded"
    assert lines_of(job) == [str(number) for number in range(5000)]


def test_kinds_take_only_arguments_that_fit_their_signature() -> None:
    for args in ({}, {"text": 3}, {"text": "x", "more": 1}):
        with pytest.raises(registry.BadArguments):
            ask("say", **args) if "more" not in args else registry.get("test.say").clean(args)
    with pytest.raises(registry.UnknownKind):
        ask("gone")
    assert not Job.objects.exists()
