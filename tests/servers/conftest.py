"""Fixtures of the servers' tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.runtime import local
from tests.servers.host import Host
from tests.servers.hostile_folders import make_deep
from tests.servers.living import portal, practice, scripted, sends

__all__ = ["host", "make_deep", "portal", "practice", "scripted", "sends"]


@pytest.fixture
def host(tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A machine of the test's own. Its path has every character that means something to overlayfs."""
    settings.STATE_DIR = tmp_path / "a state, with:odd\\characters ü"
    # Most games here need no second to prove themselves.
    monkeypatch.setattr(local, "SETTLE_SECONDS", 0.2)
    with Host(tmp_path) as made:
        yield made
