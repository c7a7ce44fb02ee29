"""What a fresh database starts with: this machine as a node, and a blueprint for each way to play the games at hand."""

from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from servers.models import Blueprint, Node, StackEntry

BLUEPRINTS: list[dict[str, Any]] = [
    {
        "slug": "left4dead2-coop", "name": "Left 4 Dead 2 · co-op", "game": "left4dead2",
        "summary": "Four survivors through a campaign.", "settings": {"gamemode": "coop", "map": "c1m1_hotel"},
    },
    {
        "slug": "left4dead2-versus", "name": "Left 4 Dead 2 · versus", "game": "left4dead2",
        "summary": "Survivors against infected, four a side.", "settings": {"gamemode": "versus", "map": "c1m1_hotel"},
    },
    {
        "slug": "left4dead2-survival", "name": "Left 4 Dead 2 · survival", "game": "left4dead2",
        "summary": "One place, no way out: how long do you last?",
        "settings": {"gamemode": "survival", "map": "c2m4_barns", "max_players": 4},
    },
    {
        "slug": "left4dead2-scavenge", "name": "Left 4 Dead 2 · scavenge", "game": "left4dead2",
        "summary": "Two teams, gas cans, and the infected in between.",
        "settings": {"gamemode": "scavenge", "map": "c8m1_apartment", "max_players": 8},
    },
    {
        "slug": "left4dead2-realism", "name": "Left 4 Dead 2 · realism", "game": "left4dead2",
        "summary": "A campaign without outlines and second chances.",
        "settings": {"gamemode": "realism", "map": "c1m1_hotel", "difficulty": "Hard", "max_players": 4},
    },
    {
        "slug": "left4dead2-mutation", "name": "Left 4 Dead 2 · mutation", "game": "left4dead2",
        "summary": "A campaign by other rules, such as eight survivors’ worth of infected. Pick the mutation below.",
        "settings": {"gamemode": "mutation4", "map": "c1m1_hotel"},
    },
    {
        "slug": "left4dead2-competitive", "name": "Left 4 Dead 2 · competitive", "game": "left4dead2",
        "summary": "Versus as it is played for points: 100 ticks, nobody's files changed, SourceTV. Needs ZoneMod.",
        "settings": {
            "gamemode": "versus", "map": "c1m1_hotel", "max_players": 8, "tickrate": "100", "rate": 100_000,
            "pure": "2", "tv": True, "tv_delay": 90, "tags": "competitive",
        },
        "slots": [
            {
                "slot": "ZoneMod or another Confogl config", "is_required": True,
                "hint": "The archive of github.com/SirPlease/L4D2-Competitive-Rework: ZoneMod, and with it SourceMod, "
                "Metamod and Tickrate Enabler.",
            },
            {
                "slot": "Tickrate Enabler", "is_required": False,
                "hint": "Needed for 100 ticks where the layer above does not bring it.",
            },
            {
                "slot": "SourceMod and Metamod", "is_required": False,
                "hint": "From sourcemod.net and metamodsource.net, for Linux, where no layer above brings them.",
            },
        ],
    },
    {
        "slug": "openarena", "name": "OpenArena · free for all", "game": "openarena",
        "summary": "A fast arena shooter, with bots until friends come.", "settings": {"bots": 4},
    },
    {
        "slug": "teeworlds", "name": "Teeworlds · deathmatch", "game": "teeworlds",
        "summary": "Small round creatures with hooks and grenades.", "settings": {"gametype": "dm"},
    },
    {
        "slug": "practice", "name": "Practice", "game": "practice",
        "summary": "A demonstration game that looks like a Source server. Starts at once.", "settings": {},
    },
]  # fmt: skip


def ensure_node() -> Node:
    """The node this process works for (`settings.NODE`), made when the database does not know it yet."""
    return Node.objects.get_or_create(slug=settings.NODE, defaults={"name": settings.NODE.capitalize()})[0]


def seed_blueprints() -> int:
    """Make the blueprints that are missing on a fresh database; returns how many. An admin's changes are left alone.

    Only while there is none at all: what an admin deleted does not come back.
    """
    if Blueprint.objects.exists():
        return 0
    try:
        with transaction.atomic():
            for number, values in enumerate(BLUEPRINTS):
                slots = values.get("slots", [])
                made = Blueprint.objects.create(
                    position=number, **{key: value for key, value in values.items() if key != "slots"}
                )
                StackEntry.objects.bulk_create(
                    StackEntry(blueprint=made, position=place, **slot) for place, slot in enumerate(slots)
                )
    except IntegrityError:  # another process did it at the same moment
        return 0
    return len(BLUEPRINTS)
