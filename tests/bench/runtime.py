"""What a start and a server cost with the local runtime."""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Figure, latencies
from tests.bench.scale import scaled

STARTS = scaled(20, 2)
LAYERS = 5
FILES, BULK_MIB = scaled((2000, 64), (50, 1))
WATCHED = scaled(200, 5)


def figures() -> Iterator[Figure]:
    """Measure on this machine."""
    from django.test import override_settings

    with tempfile.TemporaryDirectory(prefix="left4me-bench-") as folder, override_settings(STATE_DIR=Path(folder)):
        from servers.runtime.base import ServerSpec
        from servers.runtime.local import LocalRuntime

        runtime = LocalRuntime()
        spec = ServerSpec(
            name="bench",
            layers=_layers(Path(folder)),
            argv=("/bin/sleep", "1000"),
            files={f"cfg/{n}.cfg": b"x" * 1000 for n in range(10)},
        )
        times = [_start(runtime, spec) for _ in range(STARTS)]
        yield from latencies("runtime.start_5_layers", times, p50=300, p99=300)
        yield Figure("runtime.disk_of_a_created_server", _disk(runtime.tree("bench").parent) / 2**20, "MiB", 1)
        look = _poll(runtime, Path(folder))
        yield Figure(f"runtime.look_at_{WATCHED}_idle_servers_states_and_consoles", look, "ms", 50)


def _layers(folder: Path) -> tuple[Path, ...]:
    layers = tuple(folder / f"layer{n}" for n in range(LAYERS))
    for layer in layers:
        layer.mkdir()
        for n in range(FILES // LAYERS):
            (layer / f"file{n}").write_text("x")
    (layers[0] / "bulk").write_bytes(bytes(BULK_MIB << 20))
    return layers


def _start(runtime, spec) -> float:  # type: ignore[no-untyped-def]
    """Milliseconds from the call until the game is seen to run."""
    began = time.perf_counter()
    starter = threading.Thread(target=runtime.start, args=(spec,))
    starter.start()
    while runtime.states([spec.name])[spec.name].unit != "running" and starter.is_alive():
        time.sleep(0.001)
    took = (time.perf_counter() - began) * 1000
    starter.join()
    assert runtime.states([spec.name])[spec.name].unit == "running"
    runtime.stop(spec.name)
    return took


def _disk(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in (folder, *folder.rglob("*")))


def _poll(runtime, folder: Path) -> float:  # type: ignore[no-untyped-def]
    """Milliseconds of one look, as the agent does it, at servers that ran once."""
    names = [f"idle{n}" for n in range(WATCHED)]
    finished = runtime.tree("bench").parent
    cursors = {name: runtime.read_console("bench", "")[1] for name in names}
    for name in names:
        (folder / "runtime" / name).symlink_to(finished)
    began = time.perf_counter()
    for _ in range(10):
        runtime.states(names)
        for name in names:
            runtime.read_console(name, cursors[name])
    return (time.perf_counter() - began) * 100
