"""Steam ids of people, in each way they are written; the portal stores the 64-bit number.

Source: https://developer.valvesoftware.com/wiki/SteamID
"""

import re

_FIRST = 76561197960265728  # the number of account 0 among people's accounts in Steam's public universe
LOWEST, HIGHEST = _FIRST + 1, _FIRST + 2**32 - 1
_LONGEST = 200
_FORMS = {
    "number": re.compile(r"(?:(?:https?://)?(?:www\.)?steamcommunity\.com/profiles/)?([0-9]{17})/?", re.ASCII),
    "account": re.compile(r"\[?U:1:([0-9]{1,10})\]?", re.ASCII),
    "halves": re.compile(r"STEAM_[01]:([01]):([0-9]{1,10})", re.ASCII),
}


class NotASteamId(ValueError):
    """The text names no person's account; the sentence says what to write."""


def parse(text: str) -> int:
    """`76561197960287930`, `STEAM_1:0:11101`, `[U:1:22202]` or a profile's address, as the 64-bit number."""
    text = text.strip()
    if "/id/" in text:
        raise NotASteamId("That address has a name in it and no number. Steam shows the number under Account details.")
    found = {form: pattern.fullmatch(text[:_LONGEST]) for form, pattern in _FORMS.items()}
    if match := found["number"]:
        number = int(match[1])
    elif match := found["account"]:
        number = _FIRST + int(match[1])
    elif match := found["halves"]:
        number = _FIRST + 2 * int(match[2]) + int(match[1])
    else:
        raise NotASteamId("That is no Steam id. Write the 17 digits, or it as STEAM_1:0:11101 or [U:1:22202].")
    if not LOWEST <= number <= HIGHEST:
        raise NotASteamId("No person has that Steam id. Copy it again from your profile.")
    return number


def spellings(number: int) -> dict[str, str]:
    """How games write the account: as `id2` (STEAM_1:0:11101), `id3` ([U:1:22202]) and `id64`."""
    account = number - _FIRST
    return {"id2": f"STEAM_1:{account % 2}:{account // 2}", "id3": f"[U:1:{account}]", "id64": str(number)}
