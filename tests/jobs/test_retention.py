"""What ended long ago is forgotten with its log; what is younger, or has not ended, stays."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import retention, streams
from jobs.models import Job, Line, Stream
from servers.models import Server


def make(state: str, days: int, **more) -> Job:
    at = timezone.now() - timedelta(days=days)
    ended = {"finished_at": at} if state not in Job.ACTIVE else {}
    job = Job.objects.create(
        kind="x", subject=f"server:{days}", title="Start", node="local", state=state, stream=Stream.objects.create(),
        created_at=at, started_at=at, **ended, **more,
    )  # fmt: skip
    streams.append(job.stream_id, ["line"])
    return job


def test_jobs_are_kept_for_ninety_days_with_their_logs(db: None, server: Server) -> None:
    streams.append(server.console_id, ["up"])
    old = make("succeeded", 91)
    kept = [make("failed", 89, after=old, retry_of=old), make("running", 92)]
    assert retention.forget_jobs() == 1
    assert list(Job.objects.order_by("pk")) == kept
    assert set(Stream.objects.values_list("pk", flat=True)) == {server.console_id, *(job.stream_id for job in kept)}
    assert Line.objects.count() == 3
    assert Job.objects.get(pk=kept[0].pk).after is None


def test_many_are_forgotten_in_bounded_steps(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    monkeypatch.setattr(retention, "BATCHES", 2)
    for days in range(100, 105):
        make("cancelled", days)
    assert [retention.forget_jobs() for _ in range(3)] == [4, 1, 0]
