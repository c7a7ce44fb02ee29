"""The demo's children are started again when they end by themselves."""

import sys
import time

from portal.supervisor import Child


def test_one_that_ended_after_a_long_run_is_started_again_at_once_and_one_that_keeps_ending_ever_later() -> None:
    child = Child("web", [sys.executable, "-c", ""], {})
    delays = []
    for ran in (120, 0, 0):
        child.process.wait()
        child.started = time.monotonic() - ran
        child.watch()
        delays.append(round(child.restart_at - time.monotonic()))
        child.restart_at = time.monotonic() - 1
        child.watch()
    child.stop()
    assert delays == [1, 2, 5]
