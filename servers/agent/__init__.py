"""The agent: one process per node that sees what runs there and writes it where every page reads it.

`keeper.py` holds the node's lock and starts the loops: `watch.py` (states, consoles, servers to bring back),
`queries.py` (what the games answer), `commands.py` (what members type into consoles), `housekeeping.py` (heartbeat,
old files), `measuring.py` (what games wrote), `sampling.py` (a row a minute for the charts), `waiting.py` (stops and
restarts that wait for their moment).
"""
