"""What lies below a server's own files, and which of it supplies each file: from the database alone, for pages."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.models import Q

from servers import games
from servers.layers import stack
from servers.models import FileChange, Installation, LayerBuild, Right, Server
from servers.runtime import get_runtime
from servers.services.installations import folder as installation_folder

NAME_LENGTH = 120
OWN, CONFIG = "The server itself", "Settings and config files"


@dataclass(frozen=True)
class Source:
    """One layer of the tree: `build` or `installation` is the row that has its files. Of the config files `paths` are
    those that the settings make; those by hand are `ServerFile`."""

    name: str
    folder: Path
    build: LayerBuild | None = None
    installation: Installation | None = None
    paths: tuple[str, ...] = ()


def sources(server: Server, *, mounted: bool) -> list[Source]:
    """Below the server's own files, uppermost first: those it was last started on, or those of its next start.

    A layer that was not built yet is none, nor is a game that is not installed.
    """
    game = games.all_games().get(server.game)
    config = get_runtime().upper(server.name).with_name("config")
    found = [Source(CONFIG, config, paths=tuple(file.path for file in game.files) if game else ())]
    found += [
        Source(name, stack.folder(build.digest), build=build)
        for name, build in (_mounted(server) if mounted else _chosen(server))
    ]
    current = Installation.objects.filter(node=server.node_id, game=server.game, is_current=True)
    if version := server.installation if mounted else current.first():
        name = f"{game.name if game else server.game} {version.version}"[:NAME_LENGTH]
        found.append(Source(name, installation_folder(version), installation=version))
    return found


def _chosen(server: Server) -> list[tuple[str, LayerBuild]]:
    return [(layer.name, layer.build) for layer in stack.layers(server) if layer.build]


def _mounted(server: Server) -> list[tuple[str, LayerBuild]]:
    """Of equal builds of several layers any will do: their files are the same."""
    builds = LayerBuild.objects.filter(digest__in=server.mounted).select_related("layer")
    known = {build.digest: (build.layer.name, build) for build in builds}
    return [known[digest] for digest in reversed(server.mounted) if digest in known]


def for_reader(change: FileChange, held: Collection[Right]) -> FileChange:
    """The change; without its diff where that shows what the settings make to somebody who may not see those."""
    if change.below == CONFIG and Right.SETTINGS not in held and change.diff:
        change.diff, change.remark = "", "The diff shows what the settings make, which takes the right to the settings."
    return change


def fingerprint(below: Sequence[Source]) -> str:
    """Tells one stack of builds from another."""
    parts = [f"b{s.build.pk}" if s.build else f"i{s.installation.pk}" if s.installation else "" for s in below]
    return hashlib.sha256(",".join(parts).encode()).hexdigest()


@dataclass
class Supplied:
    """One file of the tree: `suppliers` are name and size (None where it is not known), the one that wins first."""

    path: str
    suppliers: list[tuple[str, int | None]]
    change: FileChange | None = None
    hidden: bool = False

    @property
    def folder(self) -> str:
        """With a slash at its end; empty at the top."""
        return self.path[: self.path.rfind("/") + 1]

    @property
    def name(self) -> str:
        return self.path[len(self.folder) :]

    @property
    def supplier(self) -> str:
        return self.suppliers[0][0]

    @property
    def size(self) -> int | None:
        return None if self.is_gone else self.suppliers[0][1]

    @property
    def is_gone(self) -> bool:
        """The game does not see it: the server deleted it, or a folder it was in."""
        return self.hidden or (self.change is not None and self.change.kind in GONE)

    @property
    def covered(self) -> list[tuple[str, int | None]]:
        return self.suppliers if self.is_gone else self.suppliers[1:]


GONE = (FileChange.Kind.DELETED, FileChange.Kind.RENEWED)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which files: containing `text`, below the folder `under`, supplied by the source of number `place` (0: the
    server itself), only `contested` ones, after the path `after` in order."""

    text: str = ""
    under: str = ""
    place: int | None = None
    contested: bool = False
    after: str = ""
    limit: int = 100


_FITS = """path COLLATE "C" > %(after)s AND (%(before)s = '' OR path COLLATE "C" < %(before)s)
            AND (%(text)s = '' OR strpos(lower(path), lower(%(text)s)) > 0)"""
# Of the long lists no more than `each` are read, which is all (NULL) where not everything that fits is shown.
_TREE = f"""
    SELECT path, array_agg(place ORDER BY place), array_agg(size_bytes ORDER BY place)
    FROM (
        SELECT path, size_bytes, 0 AS place FROM servers_filechange
        WHERE server_id = %(server)s AND (below_bytes IS NOT NULL OR kind <> ALL(%(gone)s))
        UNION ALL
        SELECT path, NULL::bigint, 1 FROM (
            SELECT unnest(%(config)s::text[])
            UNION SELECT path FROM servers_serverfile WHERE server_id = %(server)s
            UNION SELECT %(admins)s WHERE EXISTS (
                SELECT FROM servers_layerfile
                WHERE build_id = ANY(%(builds)s) AND addon = '' AND starts_with(path, %(admins_folder)s)
            ) OR EXISTS (
                SELECT FROM servers_installationfile
                WHERE installation_id = %(installation)s AND starts_with(path, %(admins_folder)s)
            )
            UNION SELECT %(addon_list)s WHERE EXISTS (
                SELECT FROM servers_layerfile
                WHERE build_id = ANY(%(builds)s) AND addon = '' AND path ILIKE '%%.vpk'
                    AND starts_with(path, %(addons_folder)s)
            )
        ) AS written (path)
        UNION ALL
        SELECT file.path, file.size_bytes, given.place::int
        FROM unnest(%(builds)s::bigint[], %(places)s::int[]) AS given (build, place) CROSS JOIN LATERAL (
            SELECT path, size_bytes FROM servers_layerfile WHERE build_id = given.build AND addon = '' AND {_FITS}
            ORDER BY path COLLATE "C" LIMIT %(each)s
        ) AS file
        UNION ALL
        SELECT path, size_bytes, %(last)s FROM (
            SELECT path, size_bytes FROM servers_installationfile WHERE installation_id = %(installation)s AND {_FITS}
            ORDER BY path LIMIT %(each)s
        ) AS file
    ) AS supplied (path, size_bytes, place)
    WHERE {_FITS}
    GROUP BY path COLLATE "C", path
    HAVING (%(place)s < 0 OR min(place) = %(place)s) AND (NOT %(contested)s OR count(*) > 1)
    ORDER BY path COLLATE "C"
    LIMIT %(limit)s
"""  # noqa: S608 (made of constants alone)


def tree(server: Server, below: Sequence[Source], asked: Asked) -> list[Supplied]:
    """The files asked for, by path; in two queries."""
    places = dict(enumerate(below, start=1))
    builds = [(source.build.pk, place) for place, source in places.items() if source.build]
    versions = [(source.installation.pk, place) for place, source in places.items() if source.installation]
    installation, last = versions[0] if versions else (0, 0)
    game = games.all_games().get(server.game)
    admins = game.admins.path if game and game.admins else "/"  # ingame.py writes it; no path begins with a slash
    values: dict[str, Any] = {
        "server": server.pk, "gone": [int(kind) for kind in GONE],
        "config": [path for source in below for path in source.paths],
        "addon_list": game.addon_list if game else "",
        "addons_folder": f"{game.addons}/" if game and game.addon_list else "/",
        "admins": admins, "admins_folder": admins[: admins.rindex("/") + 1],
        "builds": [build for build, _ in builds], "places": [place for _, place in builds],
        "installation": installation, "last": last, "text": asked.text, "contested": asked.contested,
        "after": max(asked.after, asked.under), "before": f"{asked.under[:-1]}0" if asked.under else "",
        "place": -1 if asked.place is None else asked.place, "limit": asked.limit,
        "each": asked.limit if asked.place is None and not asked.contested else None,
    }  # fmt: skip
    with connection.cursor() as db:
        db.execute(_TREE, values)
        rows = db.fetchall()
    names = {0: OWN} | {place: source.name for place, source in places.items()}
    found = [Supplied(path, [(names[p], size) for p, size in zip(ps, sizes, strict=True)]) for path, ps, sizes in rows]
    return _with_changes(server, found)


def _with_changes(server: Server, found: list[Supplied]) -> list[Supplied]:
    """Note what the server did to each; a file it deleted is not one it supplies."""
    named = Q(path__in=[one.path for one in found]) | Q(hides__gt=0)
    changes = {change.path: change for change in server.file_changes.filter(named).defer("diff")}
    prefixes = tuple(f"{change.path}/" for change in changes.values() if change.hides)
    for one in found:
        one.change = changes.get(one.path)
        if one.is_gone:
            del one.suppliers[0]
        one.hidden = one.change is None and one.path.startswith(prefixes)
    return found
