"""Runs the practice server: `python -m practice --port 27015 --config server.cfg`."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from .a2s import A2S
from .rcon import Rcon
from .world import World, chance


def say(line: str) -> None:
    """A console line; what a client sent may not break it into several."""
    print("".join(c if c.isprintable() else "?" for c in line), flush=True)


async def main(address: str, port: int, config: str) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    world = World(say, stopped.set)
    say("Practice server: a demonstration that speaks Source's protocols. Its players are simulated.")
    world.configure(config)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    server = await asyncio.start_server(Rcon(world).serve, address, port)  # first: whoever is answered may command
    await loop.create_datagram_endpoint(lambda: A2S(world, port), local_addr=(address, port))
    say(f"Network: IP {address}, mode MP, dedicated Yes, ports {port} SV")
    say(f'Started map "{world.cvars["map"]}" (CRC "0")')
    say("Connection to Steam servers is simulated.")
    while not stopped.is_set():
        world.step()
        try:
            await asyncio.wait_for(stopped.wait(), chance.uniform(1, 4))
        except TimeoutError:
            continue
    say("Server shutting down")
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="practice", description=__doc__)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=27015)
    parser.add_argument("--config", type=Path, default=Path("server.cfg"))
    options = parser.parse_args()
    config = options.config.read_text(errors="replace") if options.config.exists() else ""
    try:
        asyncio.run(main(options.address, options.port, config))
    except OSError as error:
        sys.exit(f"The practice server cannot listen on {options.address}:{options.port}: {error}")
