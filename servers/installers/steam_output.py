"""What SteamCMD prints, understood: its progress, and of its failures a sentence that says what to do.

Valve documents neither its lines nor its codes; both are collected at https://docs.linuxgsm.com/steamcmd/errors and in
https://github.com/ValveSoftware/steam-for-linux/issues (11522 for “Invalid platform”, 11459 for “No subscription”).
"""

import re
from collections import deque
from typing import NamedTuple

from jobs.run import Run

KEPT_LINES = 200
LOG_EVERY = 5.0  # per cent of the download between two lines of progress in the log
PROGRESS = re.compile(
    r"Update state \(0x[0-9a-fA-F]+\) (?P<what>[a-z ]+), progress: (?P<percent>\d+(?:\.\d+)?) \(\d+ / \d+\)"
)
CHECKED_FROM = 0.9  # of a platform's share: what comes after downloading


class Failure(NamedTuple):
    """`may_pass`: whether the same again, at once, may succeed."""

    pattern: str
    sentence: str
    may_pass: bool = False


FAILURES = (
    Failure(
        r"No subscription",
        "Steam gives this game's files only to an account that owns it. Ask an admin to set a Steam login.",
    ),
    Failure(
        r"Invalid platform",
        "Steam gives no Linux files of this game to whoever has no account. Ask an admin to set a Steam login.",
    ),
    Failure(
        r"Disk write failure|state is 0x606", "Steam's files could not be written. Ask an admin to look at the disk."
    ),
    Failure(
        r"Not enough disk space|state is 0x2[01]2", "The machine's disk is full. Ask an admin to make room, then retry."
    ),
    Failure(
        r"Rate Limit Exceeded|RateLimitExceeded",
        "Steam refuses sign-ins from here for a while, because there were too many. Retry in an hour.",
    ),
    Failure(
        r"Steam Guard|Two-factor|Account Logon Denied|Invalid Login Auth Code",
        "The Steam account asks for a code of Steam Guard. Ask an admin to sign it in on the machine by hand once, or "
        "to use an account without Steam Guard.",
    ),
    Failure(
        r"Invalid Password|FAILED \(Invalid|Login Failure|Account not found|FAILED login",
        "Steam does not accept the login. Ask an admin to check the account's name and password.",
    ),
    Failure(
        r"state is 0x402|No Connection", "Steam's servers could not be reached. Check the network, then retry.", True
    ),
    Failure(r"Timed out|Timeout|timed out", "Steam's servers did not answer in time. Retry later.", True),
    Failure(r"state is 0x(?:2|6|10E|202|206|602|626|6A6)\b", "The download broke off. Retry.", True),
)
UNKNOWN = Failure("", "SteamCMD did not finish; the last lines above say how far it came. Retry.", True)


class Output:
    """Takes lines as they come. `begin` and `share`: this download's part of the job's progress, in per cent."""

    def __init__(self, run: Run, secret: str, *, begin: float, share: float) -> None:
        self._run, self._secret, self._begin, self._share = run, secret, begin, share
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._told = ("", -LOG_EVERY)
        self._done = 0.0

    def line(self, text: str) -> None:
        if self._secret:
            text = text.replace(self._secret, "•••")
        text = text.strip()
        if match := PROGRESS.search(text):
            self._progress(match["what"], float(match["percent"]), text)
        elif text:
            self._lines.append(text)
            self._run.log(text)

    def begin_again(self) -> None:
        self._lines.clear()

    def is_complete(self, app: int) -> bool:
        return any(
            re.search(rf"Success! App '{app}' (?:fully installed|already up to date)", one) for one in self._lines
        )

    def failure(self) -> Failure:
        text = "\n".join(self._lines)
        return next((known for known in FAILURES if re.search(known.pattern, text, re.IGNORECASE)), UNKNOWN)

    def _progress(self, what: str, percent: float, text: str) -> None:
        """Steam counts anew for each thing it does: downloading is most of it, and the bar never goes back."""
        part = min(percent, 100) / 100
        done = (
            part * CHECKED_FROM
            if what == "downloading"
            else CHECKED_FROM
            if what != "reconfiguring" and self._done
            else 0
        )
        self._done = max(self._done, done)
        self._run.progress(self._begin + self._share * self._done)
        if what != self._told[0] or percent - self._told[1] >= LOG_EVERY:
            self._told = (what, percent)
            self._run.log(text)
