"""Items and collections of the Steam Workshop: looked up, downloaded into a cache, and linked into a layer's build.

Two endpoints that need no key (https://partner.steamgames.com/doc/webapi/ISteamRemoteStorage):
GetPublishedFileDetails/v1 and GetCollectionDetails/v1, POST with a form of `publishedfileids[n]`.
"""

import os
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from jobs.registry import JobError
from jobs.run import Cancelled, Run
from servers.games import Game
from servers.layers.fetching import FetchError, Stopped, download, post_form
from servers.layers.writer import shown, too_little
from servers.sizes import PER_FILE, in_words

AT_ONCE, BATCH = 4, 100  # downloads; items in one question
MOST_ITEMS, MOST_COLLECTIONS, ITEM_BYTES = 500, 50, 4 << 30
KEPT_UNUSED, KEPT_PARTIAL = 7 * 86400, 6 * 3600  # seconds
FOUND = 1  # EResult k_EResultOK


@dataclass(frozen=True)
class Item:
    """An item that can be downloaded."""

    id: str
    title: str
    url: str
    size: int
    updated: int

    @property
    def cached(self) -> Path:
        """Named by item and time, so that an update is another file."""
        return cache_folder() / f"{self.id}-{self.updated}.vpk"


def cache_folder() -> Path:
    return Path(settings.STATE_DIR) / "workshop"


def unused_downloads() -> list[Path]:
    """Those that no build links to: the older ones, and of the newer ones what is more than may be kept."""
    now, kept, unused = time.time(), 0, []
    found = [(path, facts) for path in cache_folder().glob("*") if (facts := path.stat()).st_nlink == 1]
    for path, facts in sorted(found, key=lambda one: -one[1].st_mtime):
        if path.name.startswith("."):  # on its way, or left by a worker that was killed
            is_old = facts.st_mtime < now - KEPT_PARTIAL
        else:
            kept += facts.st_size
            is_old = facts.st_mtime < now - KEPT_UNUSED or kept > settings.WORKSHOP_KEPT
        unused += [path] if is_old else []
    return unused


def fetch(run: Run, ids: list[str], game: Game, into: Path, *, room: int | None = None) -> list[dict[str, str]]:
    """Put the add-ons behind `ids`, items or collections, into the folder `into`; returns their ids and titles.

    All together they may take `room` bytes. What cannot be downloaded is left out and named in the log. Raises
    `JobError`.
    """
    try:
        items = look_up(run, expand(run, ids), game)
    except FetchError as error:
        raise JobError(f"The Steam Workshop {error}. Try again later.") from error
    if not items:
        raise JobError("None of these items can be downloaded; the log says why of each.")
    size = sum(item.size + PER_FILE for item in items)
    if room is not None and size > room:
        raise JobError(f"These {len(items)} items have {in_words(size)}, more than {too_little(room)}")
    cache_folder().mkdir(parents=True, exist_ok=True)
    missing = [item for item in items if not _link(item, into)]
    run.log(f"{len(items)} items, {len(missing)} of them to download, {sum(i.size for i in missing) / 2**20:.1f} MB.")
    _download_all(run, missing, into)
    return [{"id": item.id, "title": item.title} for item in items]


def expand(run: Run, ids: list[str]) -> list[str]:
    """The items of `ids` and of the collections among them, in their order; a collection is opened once."""
    items: dict[str, None] = {}
    opened: set[str] = set()
    asked = list(dict.fromkeys(ids))
    while asked:
        run.check()
        details = _ask("GetCollectionDetails", "collection", "collectiondetails", asked[:BATCH])
        asked = asked[BATCH:]
        for one in details:
            if one.get("result") != FOUND:
                items[str(one.get("publishedfileid"))] = None  # no collection, so an item
                continue
            opened.add(str(one.get("publishedfileid")))
            for child in _dicts(one.get("children")):
                number = str(child.get("publishedfileid"))
                if child.get("filetype") != 2:
                    items[number] = None
                elif number not in opened:
                    opened.add(number)
                    asked.append(number)
        if len(items) > MOST_ITEMS or len(opened) > MOST_COLLECTIONS:
            raise JobError(f"These are more than {MOST_ITEMS} items or {MOST_COLLECTIONS} collections. Take fewer.")
    return list(items)


def look_up(run: Run, ids: list[str], game: Game) -> list[Item]:
    """Details of the items; those without a file are named in the log. Raises `JobError` for another game's."""
    found: list[Item] = []
    for at in range(0, len(ids), BATCH):
        run.check()
        for one in _ask("GetPublishedFileDetails", "item", "publishedfiledetails", ids[at : at + BATCH]):
            number, title = str(one.get("publishedfileid")), shown(str(one.get("title") or "")).strip()
            name = f"“{title}” ({number})" if title else f"Item {number}"
            if one.get("result") != FOUND:
                run.log(f"Left out: {name} is not there, or not public.")
            elif one.get("consumer_app_id") != game.appid:
                raise JobError(f"{name} is for another game than {game.name}. Take it out.")
            elif not one.get("file_url"):
                run.log(f"Left out: {name} has no file to download; only a Steam client that plays gets it.")
            else:
                found.append(_item(one, number, title, name))
    return found


def _item(one: dict[str, Any], number: str, title: str, name: str) -> Item:
    try:
        size, updated = int(one["file_size"]), int(one["time_updated"])
    except (KeyError, TypeError, ValueError) as error:
        raise FetchError(f"did not say how large {name} is") from error
    if not 0 < size <= ITEM_BYTES or updated < 0 or not number.isdecimal():
        raise JobError(f"{name} is larger than {ITEM_BYTES >> 30} GB, or empty. Take it out.")
    return Item(number, title or number, str(one["file_url"]), size, updated)


def _ask(method: str, counted: str, key: str, ids: list[str]) -> list[dict[str, Any]]:
    form = {f"{counted}count": str(len(ids))} | {f"publishedfileids[{n}]": number for n, number in enumerate(ids)}
    answer = post_form(f"{settings.STEAM_API}/ISteamRemoteStorage/{method}/v1/", form)
    response = answer.get("response") if isinstance(answer, dict) else None
    if not isinstance(response, dict) or not isinstance(response.get(key), list):
        raise FetchError("did not answer as its documentation says")
    return [one for one in _dicts(response[key]) if str(one.get("publishedfileid")) in ids]


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _link(item: Item, into: Path) -> bool:
    """Put what is in the cache into the layer; from then on it is no unused download."""
    target = into / f"{item.id}.vpk"
    try:
        os.link(item.cached, target)
    except FileNotFoundError:
        return False
    if target.stat().st_size != item.size:
        target.unlink()
        return False
    return True


def _download_all(run: Run, items: list[Item], into: Path) -> None:
    """A few at a time; the first that fails stops the others, and those that are complete stay in the cache."""
    total, done, lock, stop = sum(item.size for item in items), [0], threading.Lock(), threading.Event()

    def got(count: int) -> None:
        with lock:
            done[0] += count

    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting: dict[Future[None], Item] = {pool.submit(_download, item, into, stop, got): item for item in items}
        try:
            while waiting:
                for future in wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED).done:
                    item = waiting.pop(future)
                    _explain(future, item)
                    run.log(f"Downloaded “{item.title}”, {item.size / 2**20:.1f} MB.")
                run.progress(100 * done[0] / total)
                run.check()
        except (JobError, Cancelled):
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _explain(future: "Future[None]", item: Item) -> None:
    try:
        future.result()
    except FetchError as error:
        raise JobError(f"“{item.title}” ({item.id}) {error}. Try again later, or take it out.") from error
    except OSError as error:
        raise JobError(f"“{item.title}” could not be stored: {error.strerror}. Ask an admin to make room.") from error


def _download(item: Item, into: Path, stop: threading.Event, got: Any) -> None:
    """Whole or not at all: two jobs that want the same item each write a file of their own first."""
    partial = item.cached.with_name(f".{item.cached.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        download(item.url, partial, size=item.size, stop=stop, got=got)
        partial.chmod(0o444)
        os.link(partial, into / f"{item.id}.vpk")
        partial.rename(item.cached)
    except Stopped:
        return
    finally:
        partial.unlink(missing_ok=True)
