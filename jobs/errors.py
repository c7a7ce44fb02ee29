"""What a service refuses. `servers/errors.py` has those of servers; whoever shows refusals catches this one class."""


class Refused(Exception):
    """An expected refusal; its text is shown as it is. `field` names the form field it belongs to, if any."""

    field = ""


class NotRetryable(Refused):
    """The job cannot be run again; the text says why, for a member."""


class TooManyJobs(Refused):
    """The member has as many jobs as members may have, or the subject as many that wait."""
