from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("servers", "0009_server_files")]

    operations = [
        migrations.AlterField(
            model_name="layer",
            name="kind",
            field=models.CharField(
                choices=[
                    ("archive", "Uploaded file"),
                    ("workshop", "Steam Workshop"),
                    ("files", "Written here"),
                    ("script", "Script"),
                ],
                max_length=8,
            ),
        ),
    ]
