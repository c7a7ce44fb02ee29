"""Programs in the place of a game that do harm: each was once enough to stop the portal for everybody."""

CONSOLE = 'secrets = ["rcon"]\nconsole = { protocol = "source-rcon", secret = "rcon" }'
# Accepts any password, and answers all commands but `status` with packets that have no text and no end.
FLOODS_ITS_ANSWERS = """
import socket, struct, sys, threading
def packet(number, kind, body=b""):
    return struct.pack("<lll", 10 + len(body), number, kind) + body + b"\\0\\0"
def talk(game):
    game.recv(4096)
    game.sendall(packet(1, 2))
    text = game.recv(4096)
    if b"status" in text:
        return game.sendall(packet(2, 0, b"all is well") + packet(3, 0))
    try:
        while True:
            game.sendall(packet(2, 0) * 5000)
    except OSError:
        pass
listener = socket.create_server(("", int(sys.argv[1])))
print("listening", flush=True)
while True:
    threading.Thread(target=talk, args=[listener.accept()[0]], daemon=True).start()
"""
# Every character begins a control string that never ends.
PRINTS_ESCAPES = """
import sys, time
print("listening", flush=True)
while True:
    sys.stdout.write(("\\x90" * 8000 + "\\n") * 20)
    sys.stdout.flush()
    time.sleep(0.01)
"""
PRINTS_WITHOUT_END = """
import os
print("listening", flush=True)
lines = b"".join(b"%06d somebody picked up a first aid kit\\n" % number for number in range(2000))
while True:
    os.write(1, lines)
"""
WRITES_WITHOUT_END = """
import itertools, os, time
print("listening", flush=True)
for number in itertools.count():
    with open(f"junk {number}", "wb") as file:
        file.write(os.urandom(1 << 20))
    time.sleep(0.005)
"""
# A text of this is never closed: each escaped quote looks like its end.
MISSION = b'"' + b'\\"' * (1 << 19)
