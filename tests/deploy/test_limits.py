"""Limits on a real host: what a moderator sets is in force on the unit from the next start, and no longer than that."""

import pytest

from tests.deploy.installed import Installed
from tests.deploy.test_installation import doctor

pytestmark = pytest.mark.host
NAME = "limited"


def in_force(portal: Installed) -> list[str]:
    """On the unit, and of the game itself, which is the launcher's child."""
    names = ("MemoryMax", "CPUQuotaPerSecUSec", "TasksMax")
    shown = portal.host.show(f"left4me-server@{NAME}", *names)
    game = portal.host.sh(f"pgrep -P {portal.main_pid(NAME)}").stdout.split()[0]
    files = portal.host.sh(f"grep 'Max open files' /proc/{game}/limits").stdout.split()[3:5]
    return [*(shown[name] for name in names), *files]


def set_limits(portal: Installed, **limits: int | None) -> None:
    portal.http.patch(f"/api/v1/servers/{NAME}", json={"limits": limits}).raise_for_status()


def test_a_servers_limits_are_in_force_from_its_next_start(portal: Installed) -> None:
    portal.api("POST", "/servers", name=NAME, blueprint="practice")
    set_limits(portal, memory_mib=768, cpu_percent=150, tasks_max=64, open_files=1000)
    portal.power(NAME, "start")
    assert in_force(portal) == [str(768 << 20), "1.500000s", "64", "1000", "1000"]
    assert doctor(portal)[f"limits of {NAME}"]["state"] == "ok"

    set_limits(portal, memory_mib=None, cpu_percent=None, tasks_max=None, open_files=None)
    found = doctor(portal)[f"limits of {NAME}"]
    assert found["state"] == "warn"
    assert "Restart the server" in found["detail"]
    portal.power(NAME, "restart")
    assert in_force(portal) == [str(4 << 30), "infinity", "512", "16384", "16384"]
    portal.power(NAME, "stop")
