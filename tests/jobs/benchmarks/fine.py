from collections.abc import Iterator

from tests.bench.figure import Figure


def figures() -> Iterator[Figure]:
    from jobs.models import Job  # Django is set up

    yield Figure("fine.jobs_of_others", Job.objects.count(), "jobs", 0)
    yield Figure("fine.at_least", 2, "times", 2, at_least=True)
