"""A host on which deploy/install.sh was run as an operator would, and a member's view of the portal it serves."""

import re
import shutil
import time
from pathlib import Path
from typing import Any

import httpx

from tests.deploy.host import BASE, CACHE, Host
from tests.stack import free_port, wait_for

# The requirements come from a folder of wheels, so that the tests need a package index only once.
PIP = "PIP_FIND_LINKS=/mnt/wheels PIP_NO_INDEX=1"
INSTALLER = "/mnt/checkout/deploy/install.sh"
FINAL = ("succeeded", "failed", "cancelled", "lost")
SLEEPER = "practice"


class Installed:
    """The portal on `host`: `install()` it, then act as its first admin over HTTP."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.site = f"http://127.0.0.1:{free_port()}"
        self.password = self.token = ""
        self.http = httpx.Client(base_url=self.site, timeout=30, follow_redirects=True)

    def install(self, *options: str) -> str:
        """Run the installer; returns what it printed."""
        done = self.host.sh(f"{PIP} {INSTALLER} --site {self.site} {' '.join(options)}", timeout=900)
        if found := re.search(r"password (\S+) \(shown this once", done.stdout):
            self.password = found[1]
        self._offer_packages()
        return done.stdout

    def sign_in(self) -> None:
        """As a browser does; then make an API token on the page for it."""
        page = self.http.get("/accounts/login/")
        assert page.status_code == 200
        answer = self.http.post("/accounts/login/", data={"login": "admin", "password": self.password} | _csrf(page))
        assert answer.status_code == 200
        assert "/accounts/login/" not in str(answer.url), answer.text
        page = self.http.get("/accounts/tokens/")
        answer = self.http.post("/accounts/tokens/", data={"name": "host test"} | _csrf(page))
        found = re.search(r"<code>([\w-]{20,})</code>", answer.text)
        assert found, answer.text
        self.token = found[1]
        self.http.headers["Authorization"] = f"Bearer {self.token}"

    def api(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        while (answer := self.http.request(method, f"/api/v1{path}", json=body or None)).status_code == 429:
            time.sleep(1)  # the tests of one machine are one user, and ask more often than one
        assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text}"
        return dict(answer.json()) if answer.content else {}

    def job(self, number: int, *, seconds: float = 120) -> dict[str, Any]:
        """The job once it ended, with its lines."""
        job = wait_for(
            lambda: (found := self.api("GET", f"/jobs/{number}"))["state"] in FINAL and found,
            seconds=seconds, every=0.2, what=f"the end of job {number}",
        )  # fmt: skip
        return dict(job) | {"lines": self.lines(job["stream"])}

    def lines(self, stream: int) -> list[str]:
        found, after = [], 0
        while batch := self.api("GET", f"/streams/{stream}/lines?after={after}&limit=1000")["lines"]:
            found += [text for _, _, text in batch]
            after = batch[-1][0]
        return found

    def server(self, name: str) -> dict[str, Any]:
        return self.api("GET", f"/servers/{name}")

    def power(self, name: str, verb: str, *, seconds: float = 300) -> dict[str, Any]:
        """Start, stop or restart; asserts that the job succeeded. The first start of a game installs it."""
        job = self.job(self.api("POST", f"/servers/{name}/{verb}")["job"], seconds=seconds)
        assert job["state"] == "succeeded", f"{job['error']}\n" + "\n".join(job["lines"][-20:])
        return job

    def make(self, name: str, blueprint: str = SLEEPER) -> str:
        """A running server of that blueprint."""
        self.api("POST", "/servers", name=name, blueprint=blueprint)
        self.power(name, "start")
        return name

    def shows(self, name: str, unit: str, *, seconds: float = 10) -> dict[str, Any]:
        """The server once the portal shows it in that state, which has to be within `seconds`."""
        what = f"{name} being {unit}"
        return dict(
            wait_for(
                lambda: (found := self.server(name))["unit"] == unit and found, seconds=seconds, every=0.1, what=what
            )
        )

    def main_pid(self, name: str) -> int:
        return int(self.host.show(f"left4me-server@{name}", "MainPID")["MainPID"])

    def mounted(self) -> set[str]:
        """Names of servers whose files are mounted on the host."""
        return set(
            re.findall(r" /var/lib/left4me/runtime/([^/ ]+)/merged ", self.host.sh("cat /proc/1/mountinfo").stdout)
        )

    def give_games_other_ports(self) -> None:
        """On Debian 12: both machines are on one network, and their portals would give away the same ports."""
        if self.host.suite != "bookworm":
            return
        for name in ("practice", "openarena"):
            text = (BASE / "servers" / "games" / f"{name}.toml").read_text()
            moved = re.sub(r"^(from|to) = (\d+)", lambda found: f"{found[1]} = {int(found[2]) + 500}", text, flags=re.M)
            self.host.write(f"/etc/left4me/games.d/{name}.toml", moved)

    def keep_packages(self) -> None:
        """Keep what a game's installation downloaded, if any was, for the next run."""
        if not self._apt.exists():
            return
        shutil.copytree(
            self._apt, self._kept, dirs_exist_ok=True, ignore=lambda _, names: {"partial", "lock"} & {*names}
        )

    def _offer_packages(self) -> None:
        if self._kept.exists() and not self._apt.exists():
            shutil.copytree(self._kept, self._apt)
            self.host.run("chown", "-R", "left4me:", "/var/lib/left4me/apt")

    @property
    def _apt(self) -> Path:
        return self.host.root / "var/lib/left4me/apt/archives"

    @property
    def _kept(self) -> Path:
        return CACHE / f"host-games-{self.host.suite}"


def _csrf(page: httpx.Response) -> dict[str, str]:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert found, "the page has a form"
    return {"csrfmiddlewaretoken": found[1]}
