"""The host runtime: how this machine runs games. `get_runtime()` gives the one that settings.RUNTIME names."""

import os
from functools import cache
from importlib import import_module

from django.conf import settings

from servers.runtime.base import Runtime

_RUNTIMES = {"local": "servers.runtime.local.LocalRuntime", "systemd": "servers.runtime.systemd.SystemdRuntime"}


@cache
def get_runtime() -> Runtime:
    """This process's runtime, made at first use."""
    module, _, name = _RUNTIMES[settings.RUNTIME].rpartition(".")
    made: Runtime = getattr(import_module(module), name)()
    return made


os.register_at_fork(after_in_child=get_runtime.cache_clear)  # its connections belong to the process that made them
