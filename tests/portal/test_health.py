"""What monitoring sees of the web process and of what it needs."""

import json
import re
from datetime import timedelta
from urllib.request import urlopen

import pytest
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ

from jobs.models import Job
from jobs.services import enqueue
from jobs.transitions import claim
from servers.models import Node, Server
from tests.stack import Stack


def queue_job(minutes: int) -> Job:
    """A job that could have been taken so long ago."""
    asked = {"kind": "servers.stop", "subject": "server:1", "title": "Stop", "args": {"server": 1}, "node": "local"}
    OrmQ.objects.filter(pk=(job := enqueue(**asked)).delivery).update(lock=timezone.now() - timedelta(minutes=minutes))
    return job


def test_the_process_is_healthy_without_asking_the_database(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_an_idle_portal_is_ready(client: Client, db: None) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "problems": {}})


def test_a_job_nobody_takes_makes_it_unready(client: Client, db: None) -> None:
    queue_job(1)
    assert client.get("/readyz").status_code == 200
    queue_job(5)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "worker" in answer.json()["problems"]["queue"]


def test_a_job_that_waits_its_turn_does_not(client: Client, db: None) -> None:
    claim(queue_job(30).pk)
    Job.objects.update(created_at=timezone.now() - timedelta(minutes=30))
    claim(queue_job(20).pk)
    assert list(Job.objects.order_by("pk").values_list("state", flat=True)) == ["running", "queued"]
    assert client.get("/readyz").status_code == 200


def test_a_silent_agent_makes_it_unready_only_where_there_are_servers(client: Client, server: Server) -> None:
    Node.objects.create(slug="empty", name="Empty")
    assert client.get("/readyz").json()["problems"] == {"agents": "No sign of life from the agent of: local."}
    Node.objects.filter(pk=server.node_id).update(agent_seen_at=timezone.now())
    assert client.get("/readyz").status_code == 200


def test_metrics_are_for_the_holder_of_the_token(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEFT4ME_METRICS_TOKEN", raising=False)
    assert client.get("/metrics").status_code == 404
    monkeypatch.setenv("LEFT4ME_METRICS_TOKEN", "sesame")
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer sesam"}).status_code == 401
    queue_job(1)
    text = client.get("/metrics", headers={"Authorization": "Bearer sesame"}).content.decode()
    assert 'left4me_jobs_active{state="queued"} 1.0' in text
    (age,) = re.findall(r"left4me_queue_age_seconds ([\d.]+)", text)
    assert 55 < float(age) < 90


def test_the_real_process_answers(stack: Stack) -> None:
    url = stack.start_web()
    assert json.load(urlopen(f"{url}/readyz"))["status"] == "ok"
