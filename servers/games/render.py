"""From a definition, chosen settings, secrets and ports to what the runtime starts: arguments and config files."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from servers.games import placeholders
from servers.games.syntax import RefusedError, Syntax, write

if TYPE_CHECKING:
    from servers.games.schema import Game


class RenderError(Exception):
    """Something the portal itself supplies is missing or cannot be written; the text says what."""


@dataclass(frozen=True)
class Stop:
    """How a game is stopped: `signal`, after `stop_after` seconds SIGTERM, after `kill_after` more SIGKILL."""

    signal: signal.Signals
    stop_after: float
    kill_after: float


@dataclass(frozen=True)
class Rendered:
    """What the runtime needs to start a server. Holds secrets, so it is not shown by repr."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    workdir: str  # relative to the merged tree
    files: Mapping[str, bytes] = field(repr=False)  # path inside the merged tree: content
    stop: Stop


class _Values:
    """Answers placeholders from cleaned settings, secrets, ports and the portal's own facts."""

    def __init__(
        self, settings: Mapping[str, str], secrets: Mapping[str, str], ports: Mapping[str, int], own: Mapping[str, str]
    ) -> None:
        self.kinds: dict[str, Mapping[str, Any]] = {"setting": settings, "secret": secrets, "port": ports}
        self.own = own

    def __call__(self, kind: str, key: str) -> str:
        try:
            return str(self.kinds[kind][key]) if key else self.own[kind]
        except KeyError:
            mend = "Its next start gives it one." if kind == "port" else "Save its settings again."
            raise RenderError(f"The server has no {kind} {key}. {mend}") from None

    def written(self, syntax: Syntax) -> Callable[[str, str], str]:
        """The same, each as `syntax` has it."""

        def answer(kind: str, key: str) -> str:
            try:
                return write(self(kind, key), syntax)
            except RefusedError as error:
                raise RenderError(f"The {kind} {key} {error}") from None

        return answer

    def argument(self, kind: str, key: str) -> str:
        """As an argument: a member's choice is checked, what the portal itself supplies may be any text."""
        return self.written(Syntax.ARGV)(kind, key) if kind == "setting" else self(kind, key)


def render(
    game: "Game", texts: Mapping[str, str], secrets: Mapping[str, str], ports: Mapping[str, int], own: Mapping[str, str]
) -> Rendered:
    """`texts` are cleaned settings as the game spells them; `own` are the values of the plain placeholders."""
    values = _Values(texts, secrets, ports, own)
    files = {}
    for file in game.files:
        lines = [placeholders.substitute(line, values.written(Syntax(file.syntax))) for line in file.lines]
        files[file.path] = "".join(f"{line}\n" for line in lines).encode()
    run = game.run
    return Rendered(
        argv=tuple(placeholders.substitute(element, values.argument) for element in run.argv),
        environment={name: placeholders.substitute(text, values) for name, text in run.environment.items()},
        workdir=run.workdir,
        files=files,
        stop=Stop(signal.Signals[run.stop_signal], run.stop_after, run.kill_after),
    )
