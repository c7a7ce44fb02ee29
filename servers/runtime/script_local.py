"""A layer's script in the local runtime: in namespaces that servers/runtime/keeper/script.py makes, dying with us."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from jobs import process
from servers.runtime import scripts
from servers.runtime.scripts import Script

KEEPER = Path(__file__).parent / "keeper"
LONGEST = 7 * 24 * 3600  # seconds; `check` ends it long before


def run(script: Script, *, on_line: Callable[[str], None], check: Callable[[], None]) -> int:
    """See `servers.runtime.scripts`."""
    hide = ["/etc/left4me", str(settings.VAR_DIR), str(settings.STATE_DIR)]  # besides all that is not the system's
    order = json.loads((script.folder / "order.json").read_text())
    order |= {"network": script.network, "hide": hide, "launcher": str(scripts.LAUNCHER)}
    (script.folder / "order.json").write_text(json.dumps(order))
    argv = [sys.executable, "-I", "-S", str(KEEPER), "script", str(script.folder)]
    return process.run(argv, timeout=LONGEST, cwd="/", on_line=on_line, check=check).code
