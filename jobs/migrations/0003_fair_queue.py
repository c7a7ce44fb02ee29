"""Whose a queue row is and whether it is bulk, on django-q2's table, with the index of the fair dequeue; a member's active jobs."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0002_queue")]

    operations = [
        # The member's number, 0 for the portal's own. django-q2 inserts no rows of its own here; where it does, as in
        # a benchmark against it, the defaults stand.
        migrations.RunSQL(
            """
            ALTER TABLE django_q_ormq ADD COLUMN member bigint NOT NULL DEFAULT 0;
            ALTER TABLE django_q_ormq ADD COLUMN bulk boolean NOT NULL DEFAULT false;
            DROP INDEX jobs_queue_order;
            CREATE INDEX jobs_queue_turns ON django_q_ormq (key, bulk, member, id)
            """,
            """
            DROP INDEX jobs_queue_turns;
            CREATE INDEX jobs_queue_order ON django_q_ormq (key, id);
            ALTER TABLE django_q_ormq DROP COLUMN member;
            ALTER TABLE django_q_ormq DROP COLUMN bulk
            """,
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                fields=["requested_by"],
                condition=models.Q(state__in=["queued", "running"]),
                name="job_active_by_member",
            ),
        ),
    ]
