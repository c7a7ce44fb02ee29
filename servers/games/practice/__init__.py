"""The practice game: a demonstration that speaks Source's protocols with simulated players, and is no real game.

It is installed as a folder and run by itself (`python -m practice`), so it imports nothing of the portal.
"""
