"""Whose turn it is: the dequeue against a simple model, on real rows, and what it costs with a long queue."""

from itertools import count

import pytest
from django.db import connection
from django_q.models import OrmQ
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.broker import _WAITING, Broker
from jobs.slots import Inbox, Slots
from jobs.transitions import deliver
from jobs.turns import PORTAL, Turns, Waiting, most_bulk, most_bulk_of_member, most_of_member
from portal.models import User
from tests.engine.clusters import ask
from tests.generated import cases

pytestmark = pytest.mark.django_db(transaction=True)
MEMBERS = [PORTAL, 1, 2, 3]
ALICE, BOB = 1, 2
STEPS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(MEMBERS), st.booleans()),
    st.tuples(st.just("give")),
    st.tuples(st.just("finish"), st.integers(0, 7)),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
)


class Cluster:
    """A real broker and real slots; and the model: lists of what waits and runs, and who was served in which order."""

    def __init__(self, workers: int) -> None:
        self.slots, self.broker = Slots(workers), Broker("local")
        self.broker.slots, self.workers = self.slots, workers
        self.waiting: list[Waiting] = []
        self.running: dict[int, Waiting] = {}  # by slot
        self.served: list[int] = []

    def ask(self, member: int, bulk: bool) -> None:
        self.waiting.append(Waiting(member, bulk, self.broker.enqueue("task", member=member, bulk=bulk)))

    def finish(self, choice: int) -> None:
        if self.running:
            slot = sorted(self.running)[choice % len(self.running)]
            OrmQ.objects.filter(pk=self.running.pop(slot).row).delete()
            self.slots.busy[slot] = False

    def cancel(self, choice: int) -> None:
        if self.waiting:
            OrmQ.objects.filter(pk=self.waiting.pop(choice % len(self.waiting)).row).delete()

    def give(self) -> None:
        expected = self.expected()
        if not expected:
            self.slots.ring()  # nobody is to be waited for
        found = self.broker.dequeue()
        assert (found[0][0] if found else None) == (expected.row if expected else None)
        if expected:
            self.waiting.remove(expected)
            self.served.append(expected.member)
            self.slots.put({"member": expected.member, "bulk": expected.bulk})
            (slot,) = (n for n in range(self.workers) if not self.slots.inboxes[n].empty())
            Inbox(self.slots, slot).get()
            assert slot not in self.running
            self.running[slot] = expected

    def expected(self) -> Waiting | None:
        """The rules once more, plainly: every row is looked at."""
        if len(self.running) == self.workers:
            return None
        at_work = list(self.running.values())
        found = []
        for row in self.waiting:
            own = [one for one in at_work if one.member == row.member]
            bulk = [one for one in at_work if one.bulk]
            if row.bulk and len(bulk) >= most_bulk(self.workers):
                continue
            if row.bulk and len([one for one in own if one.bulk]) >= most_bulk_of_member(self.workers):
                continue
            if row.member != PORTAL and len(own) >= most_of_member(self.workers):
                continue
            last = max((n for n, member in enumerate(self.served) if member == row.member), default=-1)
            found.append((len(own), last, row.row, row))
        return min(found)[-1] if found else None


@settings(max_examples=cases(60, 600), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(workers=st.integers(1, 6), steps=st.lists(STEPS, min_size=30, max_size=80))
def test_the_queue_serves_whom_the_model_would_and_keeps_every_limit(
    workers: int, steps: list[tuple[str, int, bool]]
) -> None:
    OrmQ.objects.all().delete()
    cluster = Cluster(workers)
    for verb, *given_with in steps:
        getattr(cluster, verb)(*given_with)
        bulk = [one for one in cluster.running.values() if one.bulk]
        assert len(bulk) < workers or workers == 1
        for member in MEMBERS:
            assert len([one for one in bulk if one.member == member]) <= 2


@given(workers=st.integers(1, 6), bulk=st.booleans(), ends=st.lists(st.integers(0, 7), max_size=30))
@settings(max_examples=cases(200, 2000), deadline=None)
def test_a_hundred_jobs_of_one_member_delay_anothers_by_one_at_most(workers: int, bulk: bool, ends: list[int]) -> None:
    turns = Turns()
    running: list[Waiting] = []
    rows = count(1)

    def serve(*heads: Waiting) -> list[int]:
        """Give the free workers to jobs of these members; whose they are."""
        given_to = []
        while len(running) < workers and (order := turns.order(heads, running, workers)):
            turns.served(order[0].member)
            running.append(order[0]._replace(row=next(rows)))
            given_to.append(order[0].member)
            if order[0].member == BOB:
                break
        return given_to

    for end in ends:  # alice has had so many turns when bob comes
        serve(Waiting(ALICE, bulk, 0))
        running.pop(end % len(running))
    served: list[int] = []
    for _ in range(3):
        served += serve(Waiting(ALICE, bulk, 0), Waiting(BOB, bulk, 1000))
        if BOB in served:
            break
        running.pop()
    assert served.count(ALICE) <= 1
    assert BOB in served


def test_a_row_tells_whose_its_job_is_and_of_which_class(alice: User) -> None:
    for job in (ask("say", text="x", requested_by=alice), ask("bulk", "thing:2", lines=1, seconds=0)):
        with connection.cursor() as db:
            db.execute("SELECT member, bulk FROM django_q_ormq WHERE id = %s", [job.delivery])
            assert db.fetchone() == ((alice.pk, False) if job.kind == "test.say" else (PORTAL, True))


def test_a_job_delivered_again_is_still_its_members(alice: User) -> None:
    job = ask("bulk", lines=1, seconds=0, requested_by=alice)
    OrmQ.objects.all().delete()
    deliver(job)
    with connection.cursor() as db:
        db.execute("SELECT member, bulk FROM django_q_ormq")
        assert db.fetchall() == [(alice.pk, True)]


@pytest.fixture
def plan() -> dict[int, list[str]]:
    """What PostgreSQL does to find whose turn it is, by length of the queue; a hundred members in each."""
    plans = {}
    for length in (1000, 10_000):
        with connection.cursor() as db:
            db.execute("TRUNCATE django_q_ormq")  # rows that are dead but not yet vacuumed would be counted, too
            db.execute(
                "INSERT INTO django_q_ormq (key, payload, lock, member, bulk) "
                "SELECT 'local', repeat('x', 400), now() + CASE WHEN n < 9 THEN 1 ELSE -1 END * interval '1 minute', "
                "n %% 100, n %% 3 = 0 FROM generate_series(1, %s) AS n",
                [length],
            )
            db.execute("SET enable_seqscan = off")  # as the broker's session has it
            db.execute("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) " + _WAITING, {"queue": "local"})
            plans[length] = [row[0] for row in db.fetchall()]
            db.execute("RESET enable_seqscan")
    return plans


def test_a_dequeue_costs_as_much_with_ten_thousand_rows_as_with_a_thousand(plan: dict[int, list[str]]) -> None:
    def buffers(lines: list[str]) -> int:
        """Pages read, which is the work; the first line is of the whole."""
        line = next(line for line in lines if "Buffers: shared hit=" in line)
        return int(line.split("hit=")[1].split()[0])

    text = "\n".join(plan[10_000])
    print(text)
    assert "Seq Scan" not in text
    assert "Sort" not in text
    assert buffers(plan[10_000]) < 2 * buffers(plan[1000])
