"""The settings of the engine's own processes in tests: the portal's, and the test kinds."""

from portal.settings import *  # noqa: F403
from portal.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.engine"]
