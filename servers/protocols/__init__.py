"""The wire formats of game queries and remote consoles. What a game sends is hostile: bounded, checked, never trusted.

Our own readers and not a library's, because those keep every packet that comes and unpack without a bound; tests hold
them against two independent clients.
"""
