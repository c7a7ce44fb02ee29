"""The keeper's loop: output to the console, crashes to restarts, a stop request to ever harder signals."""

import contextlib
import errno
import math
import selectors
import signal
import socket
import time
from typing import Any

from .console import Console
from .game import Game
from .state import StateFile

SENTENCES = {
    errno.ENOENT: "{what} or what it needs to run was not found. Install the game again or ask an admin.",
    errno.EACCES: "{what} may not be executed. Ask an admin to look at the installation.",
    errno.ENOEXEC: "{what} is not a program this machine can run. Ask an admin to look at the installation.",
}


def exit_sentence(status: int) -> str:
    """How the game ended, for a member; `status` as `Popen.returncode`."""
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"The game was ended by {signal.Signals(-status).name}."
        return f"The game was ended by signal {-status}."
    return f"The game ended with exit code {status}." if status else "The game ended by itself."


class Supervisor:
    """Runs one order until it is stopped or crashed for good. `reply` tells the starter, once."""

    def __init__(self, order: dict[str, Any], *, tree: str, console: Console, state: StateFile, reply: Any) -> None:
        self.order, self.tree = order, tree
        self.console, self.state, self.reply = console, state, reply
        self.game: Game | None = None
        self.settling = True  # until the first run proved itself
        self.stopping = self.stop_sent = False
        self.restarts: list[float] = []
        self.total_restarts = 0
        self.deadlines: list[tuple[float, str]] = []  # what is due at which time, soonest first
        self.finished = False
        self.selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Returns when nothing of the game is left and its last state is written."""
        wake, waker = socket.socketpair()
        for end in (wake, waker):
            end.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._request_stop)
        self.selector.register(wake, selectors.EVENT_READ)
        self._tell("starting")  # names this keeper, so it comes after the handlers
        self._start()
        while not self.finished:
            due = min([at for at, _ in self.deadlines[:1]] + [self.console.due])
            timeout = max(due - time.monotonic(), 0) if due < math.inf else None
            for key, _ in self.selector.select(timeout):
                if key.fileobj is wake:
                    wake.recv(4096)
                else:
                    self._take_output()
            self.console.end_begun_line()
            self._look()
            self._due()

    def _request_stop(self, *_: object) -> None:
        self.stopping = True

    def _start(self) -> None:
        try:
            self.game = Game(self.order, self.tree)
        except OSError as error:
            sentence = SENTENCES.get(error.errno or 0, "{what} could not be started: {why}.")
            self._crashed(sentence.format(what=error.filename or "The game", why=error.strerror))
            return
        self.selector.register(self.game.output, selectors.EVENT_READ)
        if self.settling:
            self._at(self.order["settle"], "settled")
        self._tell("running", pid=self.game.machine_pid, restarts=self.total_restarts)

    def _take_output(self) -> bool:
        """Move one piece of output to the console: no more, so that a flood does not delay a stop."""
        assert self.game
        output = self.game.output
        piece = self.game.read()
        self.console.write(piece)
        if self.game.output < 0:
            self.selector.unregister(output)
        return bool(piece)

    def _look(self) -> None:
        """Act on a stop request and on ended processes."""
        if self.stopping and not self.stop_sent:
            self._stop()
        if self.game is None:
            return
        alive = self.game.reap()
        if self.game.status is None or (self.stopping and alive):
            return  # after the stop signal what the game started may take its time as well
        self._ended(self.game.status)

    def _stop(self) -> None:
        self.stop_sent, self.deadlines = True, []
        if self.game is None:
            self._stopped()
            return
        self._tell("stopping")
        self.console.remark("Stopping.")
        self.game.signal(self.order["stop_signal"])
        self._at(self.order["stop_after"], "term")
        self._at(self.order["stop_after"] + self.order["kill_after"], "kill")

    def _ended(self, status: int) -> None:
        assert self.game
        self.game.kill_all()
        while self.game.output >= 0 and self._take_output():
            pass
        if self.game.output >= 0:  # held by a process that even SIGKILL did not end
            self.selector.unregister(self.game.output)
        self.console.end_line()
        lasted = time.monotonic() - self.game.started
        self.game = None
        code, number = (None, -status) if status < 0 else (status, None)
        ended: dict[str, Any] = {"exit_code": code, "exit_signal": number}
        if self.stopping:
            self._stopped(**ended)
        elif self.settling and lasted < self.order["settle"]:
            self._crashed(f"{exit_sentence(status)} It had run for {lasted:.1f} s.", **ended)
        else:
            self._restart(exit_sentence(status), **ended)

    def _restart(self, sentence: str, **ended: Any) -> None:
        rule, now = self.order["restart"], time.monotonic()
        self.restarts = [at for at in self.restarts if now - at < rule["window"]]
        if len(self.restarts) >= rule["limit"]:
            often = f"It was restarted {len(self.restarts)} times within {rule['window'] / 60:g} min"
            self._crashed(f"{sentence} {often} and stays down.", **ended)
            return
        backoff = rule["backoff"]
        delay = backoff[min(len(self.restarts), len(backoff) - 1)] if backoff else 0
        self.restarts.append(now)
        self.total_restarts += 1
        sentence = f"{sentence} Restart {len(self.restarts)} of {rule['limit']} in {delay:g} s."
        self.console.remark(sentence)
        self._tell("restarting", sentence, pid=None, **ended)
        self._at(delay, "restart")

    def _due(self) -> None:
        while self.deadlines and self.deadlines[0][0] <= time.monotonic() and not self.finished:
            _, what = self.deadlines.pop(0)
            if what == "settled":
                self.settling = False
                self.reply({"ok": True})
            elif what == "restart":
                self._start()
            elif self.game and what == "term":
                self.console.remark("It did not stop in time: SIGTERM.")
                self.game.signal(signal.SIGTERM)
            elif self.game and what == "kill":
                self.console.remark("It did not end in time: SIGKILL.")
                self.game.kill_all()
                self._ended(-signal.SIGKILL if self.game.status is None else self.game.status)

    def _at(self, seconds: float, what: str) -> None:
        self.deadlines = sorted([*self.deadlines, (time.monotonic() + seconds, what)])

    def _tell(self, unit: str, detail: str = "", **changed: Any) -> None:
        self.state.write(unit=unit, detail=detail, since=time.time(), **changed)

    def _stopped(self, **ended: Any) -> None:
        self._tell("stopped", pid=None, **ended)
        self._finish("It was stopped while it started.")

    def _crashed(self, sentence: str, **ended: Any) -> None:
        self.console.remark(sentence)
        self._tell("crashed", sentence, pid=None, **ended)
        self._finish(sentence)

    def _finish(self, error: str) -> None:
        """The last state is written: tell a starter that still waits."""
        self.reply({"ok": False, "error": error})
        self.finished = True
