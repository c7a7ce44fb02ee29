"""Small things that templates of every app draw."""

from datetime import datetime, timedelta

from django import template
from django.forms import BoundField
from django.templatetags.static import static
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString

from jobs.models import Job

register = template.Library()

JOB_TONES = {
    Job.State.QUEUED: "busy",
    Job.State.RUNNING: "busy",
    Job.State.SUCCEEDED: "good",
    Job.State.FAILED: "bad",
    Job.State.CANCELLED: "idle",
    Job.State.LOST: "bad",
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """A drawing of the sprite; always beside words or in a control that has a name."""
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>', _sprite(), name)


def _sprite() -> str:
    return static("icons/sprite.svg")


@register.filter
def control(field: BoundField) -> SafeString:
    """A field's control, without the placeholder by which allauth repeats the label, and its hidden twin where it has
    one (jobs/changed.py). The first wrong one has focus."""
    attrs: dict[str, str | bool] = {"placeholder": False}
    wrong = next((each.name for each in field.form if each.errors), None)
    twin = field.as_hidden(only_initial=True) if field.field.show_hidden_initial else ""
    shown = field.as_widget(attrs=attrs | ({"autofocus": field.name == wrong} if wrong else {}))
    return format_html("{}{}", shown, twin)


@register.filter
def breakable(name: str) -> SafeString:
    """The name of a map, which narrow places break after an underscore rather than within a word."""
    return SafeString(escape(name).replace("_", "_<wbr>"))


@register.filter
def job_tone(job: Job) -> str:
    return JOB_TONES[Job.State(job.state)]


@register.simple_tag
def moment(at: datetime | None, *, elapsed: bool = False) -> SafeString | str:
    """A time that js/time.js puts into words: how long ago, or how long since. Without scripts it is UTC."""
    if at is None:
        return ""
    iso, text = at.isoformat(timespec="milliseconds"), f"{at:%Y-%m-%d %H:%M} UTC"
    return format_html('<time datetime="{}" data-as="{}">{}</time>', iso, "elapsed" if elapsed else "ago", text)


@register.simple_tag
def clock(at: datetime) -> SafeString:
    """A time that js/time.js puts into the reader's own zone, with its date unless it is today. Without scripts it is
    UTC."""
    return format_html('<time datetime="{}" data-as="clock">{}</time>', at.isoformat(), f"{at:%Y-%m-%d %H:%M} UTC")


@register.filter
def took(job: Job) -> str:
    """How long a finished job ran, in words."""
    if not (job.started_at and job.finished_at):
        return ""
    return _words(job.finished_at - job.started_at)


def _words(length: timedelta) -> str:
    if length < timedelta(seconds=1):
        return "under 1 s"
    minutes, seconds = divmod(round(length.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@register.filter
def played(seconds: float | None) -> str:
    """How long a player has been on a server."""
    return "" if seconds is None else _words(timedelta(seconds=seconds))
