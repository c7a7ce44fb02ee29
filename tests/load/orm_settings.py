"""The portal's settings with django-q2's own ORM broker and its defaults, for comparison."""

from tests.engine_settings import *  # noqa: F403

Q_CLUSTER = {"name": "left4me", "cluster_name": "own", "orm": "default", "workers": 4, "timeout": 60, "retry": 90}
