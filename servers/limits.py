"""What a game server may use of its machine: the bounds, what the portal ships, and whose word counts."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """In force for one server; the defaults are what the portal ships.

    `cpu_percent`: of one core, `None` for all there are. `tasks_max`: processes and threads. `open_files`: of each
    process.
    """

    memory_mib: int = 4096
    cpu_percent: int | None = None
    tasks_max: int = 512
    open_files: int = 16_384

    def __str__(self) -> str:
        """A line for members."""
        whole = self.memory_mib >= 1024 and self.memory_mib % 256 == 0
        memory = f"{self.memory_mib / 1024:g} GiB" if whole else f"{self.memory_mib} MiB"
        cores = f"{(self.cpu_percent or 0) / 100:g} core{'s' if self.cpu_percent != 100 else ''}"
        cpu = "no limit" if self.cpu_percent is None else cores
        return (
            f"Memory {memory} · CPU {cpu} · {self.tasks_max} processes and threads · {self.open_files} open files each"
        )


# From, to: within those of deploy/libexec/overlay; the last two at most LimitNPROC= and LimitNOFILE= of the unit.
BOUNDS = {"memory_mib": (64, 1 << 20), "cpu_percent": (5, 12_800), "tasks_max": (16, 1024), "open_files": (64, 16_384)}


def effective(*sources: object) -> Limits:
    """Each limit by the first of `sources` that gives it: rows of `Limited`, a game's `limits`, `None` for nobody."""
    found: dict[str, int] = {}
    for source in reversed(sources):
        given = {name: getattr(source, name, None) for name in BOUNDS}
        found |= {name: value for name, value in given.items() if value is not None}
    return Limits(**found)
