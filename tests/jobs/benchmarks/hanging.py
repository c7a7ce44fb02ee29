import subprocess
import time
from collections.abc import Iterator

from tests.bench.figure import Figure


def figures() -> Iterator[Figure]:
    left = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    yield Figure("hanging.left_running", left.pid, "pid")
    time.sleep(1000)
