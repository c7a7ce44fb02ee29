"""Advisory locks of PostgreSQL: what keeps two processes off the same subject, and tells whether a job's holder lives.

Each use has a class of its own, the first of the two numbers of `pg_advisory_lock(int, int)`.
"""

from django.db import connection

SUBJECT = 0x6C346D01
JOB = 0x6C346D02
REAPER = 0x6C346D03
MEMBER = 0x6C346D04


def lock_subject(subject: str) -> None:
    """Wait for the subject, until the present transaction ends.

    Whoever asks for, claims or ends a job of a subject holds it, so “nothing runs, I go” and “I am done, wake the
    next” cannot miss each other. A transaction locks one subject, or several of one owner while it holds that
    owner's row, hence no deadlock.
    """
    _ask("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", SUBJECT, subject)


def lock_member(number: int) -> None:
    """Put what one member asks for in order, until the present transaction ends."""
    _ask("SELECT pg_advisory_xact_lock(%s, %s)", MEMBER, _number(number))


def hold_job(job_id: int) -> bool:
    """Take the job's lock for as long as this session lives; whether it was free."""
    return _ask("SELECT pg_try_advisory_lock(%s, %s)", JOB, _number(job_id))


def release_job(job_id: int) -> None:
    """Let go of a held job before the session ends."""
    _ask("SELECT pg_advisory_unlock(%s, %s)", JOB, _number(job_id))


def job_is_held(job_id: int) -> bool:
    """Whether some session holds the job. If none does, none can until the present transaction ends."""
    return not _ask("SELECT pg_try_advisory_xact_lock(%s, %s)", JOB, _number(job_id))


def elect_reaper() -> bool:
    """Become the one reaper until `resign_reaper` or the end of the session."""
    return _ask("SELECT pg_try_advisory_lock(%s, %s)", REAPER, 0)


def resign_reaper() -> None:
    _ask("SELECT pg_advisory_unlock(%s, %s)", REAPER, 0)


def _number(job_id: int) -> int:
    return job_id % 2**31


def _ask(statement: str, *parameters: int | str) -> bool:
    with connection.cursor() as db:
        db.execute(statement, parameters)
        return bool(db.fetchone()[0])
