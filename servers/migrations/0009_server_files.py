import django.db.models.deletion
import django.db.models.lookups
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('servers', '0008_stack_slots'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ServerFile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('path', models.CharField(help_text="Below the top of the game's files.", max_length=300)),
                ('text', models.TextField(blank=True)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('is_started', models.BooleanField(default=False, help_text='The last start wrote it as it is now.')),
                ('server', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='own_files', to='servers.server')),
                ('updated_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['path'],
                'constraints': [
                    models.UniqueConstraint(fields=('server', 'path'), name='server_file_once'),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.LessThanOrEqual(
                            models.Func(models.F('text'), function='octet_length', output_field=models.IntegerField()), 65536
                        ),
                        name='server_file_bounded',
                    ),
                ],
            },
        ),
    ]
