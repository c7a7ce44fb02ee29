"""Makes the checkout's virtual environment for `make`, tells what is missing, and shows that it goes on.

    python3 deploy/venv.py REQUIREMENTS STAMP

Runs under the system's Python with its standard library only; also under an old one, to say that it is too old.
"""

import glob
import os
import pwd
import re
import subprocess
import sys
import threading
import time

VENV = ".venv"
PYTHON = f"{VENV}/bin/python"
OLDEST, NEWEST = (3, 11), (3, 13)
EVERY = 5  # seconds between two lines where there is no terminal


def check() -> str:
    """What keeps this Python from making the environment, as a sentence with the way out, or nothing."""
    version = sys.version_info[:2]
    if not OLDEST <= version <= NEWEST:
        return (
            f"Python {version[0]}.{version[1]} does not do: left4me needs 3.11 to 3.13. Name another one, such as"
            " PYTHON=python3.13, behind `make`."
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return f"The module venv is missing. Install it: sudo apt-get install python{version[0]}.{version[1]}-venv"
    return writable(os.path.abspath(VENV if os.path.exists(VENV) else "."))


def writable(place: str) -> str:
    """A sentence with the way out unless we may write in the folder, which is perhaps another user's or read-only."""
    if os.access(place, os.W_OK | os.X_OK):
        return ""
    number = os.stat(place).st_uid
    try:
        owner = pwd.getpwuid(number).pw_name
    except KeyError:
        owner = f"uid {number}"
    other = "" if number == os.geteuid() else f", or run this as {owner}, who owns it"
    return f"{place} cannot be written. Copy the checkout to a folder of yours{other}."


def usable() -> bool:
    """Whether the environment works: not one that was interrupted, or whose Python the system has replaced."""
    return os.path.exists(PYTHON) and subprocess.run([PYTHON, "-c", "import pip"], capture_output=True).returncode == 0


class Progress:
    """One line that changes on a terminal, a line every few seconds elsewhere."""

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty()
        self.shown = 0.0
        self.text = ""

    def show(self, text: str, last: bool = False) -> None:
        now = time.monotonic()
        if self.terminal:
            sys.stdout.write(f"\r\033[K{text}" + ("\n" if last else ""))
        elif last or (text != self.text and now - self.shown >= EVERY):
            sys.stdout.write(f"{text}\n")
        else:
            return
        sys.stdout.flush()
        self.shown, self.text = now, text


class Pip:
    """`pip install -r REQUIREMENTS` with its output read along."""

    def __init__(self, requirements: str) -> None:
        self.requirements = requirements
        with open(requirements, encoding="utf-8") as file:
            self.total = sum("==" in line for line in file)
        self.lines: list[str] = []
        self.found = self.unpacking = 0

    def run(self) -> int:
        """Its exit status."""
        command = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
        before, began, progress = self._installed(), time.monotonic(), Progress()
        process = subprocess.Popen(
            [*command, "--require-hashes", "-r", self.requirements], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        reader = threading.Thread(target=self._read, args=[process.stdout], daemon=True)
        reader.start()
        print(f"installing {self.requirements}: up to {self.total} packages, below {VENV}", flush=True)
        while reader.is_alive():
            reader.join(0.2)
            seconds = f"{time.monotonic() - began:.0f} s"
            if self.unpacking:
                done = min(self._installed() - before, self.unpacking)
                progress.show(f"  installed {done} of {self.unpacking} ({seconds})")
            else:
                progress.show(f"  fetched {self.found} of {self.total} ({seconds})")
        status = process.wait()
        result = "failed" if status else "done"
        progress.show(f"  {self.requirements}: {result} after {time.monotonic() - began:.0f} s", last=True)
        return status

    def _read(self, output) -> None:  # type: ignore[no-untyped-def]  # the stub would need an import
        for raw in output:
            line = raw.decode(errors="replace").rstrip()
            self.lines = [*self.lines[-30:], line]
            if re.match(r"(Collecting|Requirement already satisfied:) ", line):
                self.found += 1
            elif line.startswith("Installing collected packages: "):
                self.unpacking = line.count(",") + 1

    @staticmethod
    def _installed() -> int:
        return len(glob.glob(f"{VENV}/lib/python3*/site-packages/*.dist-info"))


def main(requirements: str, stamp: str) -> int:
    """The exit status."""
    if problem := check():
        print(problem, file=sys.stderr)
        return 1
    if not usable():
        print(f"making a virtual environment in {VENV}", flush=True)
        if status := subprocess.run([sys.executable, "-m", "venv", "--clear", VENV]).returncode:
            return status
    pip = Pip(requirements)
    if pip.run():
        print(*pip.lines, sep="\n", file=sys.stderr)
        print("pip could not install the requirements; its last lines are above.", file=sys.stderr)
        return 1
    with open(stamp, "w", encoding="utf-8"):
        return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:3]))
    except KeyboardInterrupt:
        sys.exit(130)
