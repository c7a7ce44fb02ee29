"""What the agent clears away by the hour."""

from datetime import timedelta
from threading import Event

from django.contrib.sessions.models import Session
from django.utils import timezone

from servers.agent.housekeeping import Housekeeping
from servers.agent.loop import Loop
from servers.models import AuditEvent


def test_the_audit_trail_goes_back_a_year_and_sessions_until_they_expire(node, settings, tmp_path) -> None:
    settings.STATE_DIR = tmp_path
    now = timezone.now()
    for days in (364, 366):
        AuditEvent.objects.create(action=f"{days} days ago", at=now - timedelta(days=days))
    for hours in (-1, 1):
        Session.objects.create(session_key=f"key{hours}", session_data="", expire_date=now + timedelta(hours=hours))
    Housekeeping(node, Loop("watch", lambda: None, 1, Event())).step()
    assert [event.action for event in AuditEvent.objects.all()] == ["364 days ago"]
    assert [session.session_key for session in Session.objects.all()] == ["key1"]
