"""How passwords are kept."""

import threading

from django.contrib.auth.hashers import Argon2PasswordHasher

_ONE = threading.Lock()


class OneAtATime(Argon2PasswordHasher):
    """Argon2id as OWASP's password storage cheat sheet recommends it (46 MiB, one pass, one lane), some 60 ms.

    One at a time in a process: a flood of sign-ins leaves the other processors, and the memory, to everybody's pages.
    Requests wait for it before they are begun (portal/turns.py); this is for whatever else hashes.
    """

    time_cost, memory_cost, parallelism = 1, 47104, 1

    def encode(self, password: str, salt: str) -> str:
        with _ONE:
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        with _ONE:
            return super().verify(password, encoded)
