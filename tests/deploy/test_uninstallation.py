"""The removal from a real host. Takes the portal off its Debian 12: the file's name puts it after all that need it."""

import pytest

from tests.deploy.installed import INSTALLER, PIP, Installed

pytestmark = pytest.mark.host


def test_uninstalling_keeps_data_until_it_is_purged(portal12: Installed) -> None:
    host = portal12.host
    host.sh("/mnt/checkout/deploy/uninstall.sh", timeout=120)
    assert (
        host.sh(
            "ls /etc/systemd/system/left4me* /opt/left4me /etc/polkit-1/rules.d/50-left4me.rules", check=False
        ).stdout
        == ""
    )
    assert host.sh("cat /etc/left4me/left4me.env; ls /var/lib/left4me/runtime").stdout
    host.sh(f"{PIP} {INSTALLER} --site {portal12.site}", timeout=600)
    assert portal12.api("GET", "/blueprints")["items"], "the token is still good: the database was kept"
    host.sh("/mnt/checkout/deploy/uninstall.sh --purge", timeout=120)
    assert host.sh("ls -d /etc/left4me /var/lib/left4me; id left4me", check=False).stdout == ""
