"""How many bytes of text each stream has, by which it is bounded."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0003_fair_queue")]

    operations = [
        migrations.AddField(
            model_name="stream",
            name="size_bytes",
            field=models.BigIntegerField(default=0, help_text="Of the text of the lines kept; bounded too."),
        ),
        migrations.RunSQL(
            """
            UPDATE jobs_stream SET size_bytes = counted.size
            FROM (SELECT stream_id, sum(octet_length(text)) AS size FROM jobs_line GROUP BY stream_id) counted
            WHERE counted.stream_id = jobs_stream.id
            """,
            migrations.RunSQL.noop,
        ),
    ]
