"""The queue row of a job, and the index of the ordered dequeue on django-q2's table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0001_initial"),
        ("django_q", "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more"),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="delivery",
            field=models.BigIntegerField(null=True, editable=False, help_text="The queue row made for it last."),
        ),
        # (key, id) gives the rows of a queue in order, so a dequeue stops at the first one that is not locked; with
        # `lock` in front of `id` it would sort the whole queue each time. Rows in flight are few: a claim deletes its row.
        migrations.RunSQL(
            "CREATE INDEX jobs_queue_order ON django_q_ormq (key, id)",
            "DROP INDEX jobs_queue_order",
        ),
    ]
