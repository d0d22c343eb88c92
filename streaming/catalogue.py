"""Category and price of the items of each shop, for the stream: the catalogue file followed, switched whole."""

import logging
import threading
from collections.abc import Collection
from typing import Final, NamedTuple

from contracts.errors import LiveshelfError
from contracts.items import Places, decode_places
from contracts.lake import catalogue_path
from stores.objects import Objects

__all__ = ["Categories"]

_log = logging.getLogger(__name__)
_NOTHING: Final = Places({}, {})


class _Known(NamedTuple):
    tag: str | None
    places: Places


class Categories:
    """What the stream needs of the catalogues. No call blocks on the network after a shop's first one.

    Until a catalogue is there, no item has a category; a catalogue that cannot be read leaves the one before in place.
    """

    def __init__(self, objects: Objects, shops: Collection[str], poll_s: float) -> None:
        self._objects = objects
        self._shops = frozenset(shops)
        self._poll_s = poll_s
        self._known: dict[str, _Known] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="catalogue", daemon=True)

    def start(self) -> None:
        """Begin to follow the catalogues of the shops that were asked for."""
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._stop.set()

    def category(self, shop: str, item_id: str) -> str:
        """The item's category; empty where it has none or is unknown."""
        return self.of(shop).categories.get(item_id, "")

    def price(self, shop: str, item_id: str) -> float | None:
        """The item's price in the catalogue, if it has one."""
        return self.of(shop).prices.get(item_id)

    def of(self, shop: str) -> Places:
        """The whole catalogue at one moment: for many items at once, from one version of the file."""
        known = self._known.get(shop)
        if known is None:
            if shop not in self._shops:  # whatever a producer writes there, it is not looked up, nor polled for
                return _NOTHING
            self._refresh(shop)
            known = self._known[shop]
        return known.places

    def _follow(self) -> None:
        while not self._stop.wait(self._poll_s):
            for shop in list(self._known):
                self._refresh(shop)

    def _refresh(self, shop: str) -> None:
        """Look at the file; keep what is known whatever goes wrong, and say so.

        Whatever: the thread that follows the files has no caller, and must not end in silence.
        """
        known = self._known.setdefault(shop, _Known(None, _NOTHING))
        try:
            tag = self._objects.etag(catalogue_path(shop))
            if tag is None or tag == known.tag:
                return
            # Should the file be replaced between these two calls, the next look finds another tag and reads it again.
            places = decode_places(self._objects.get(catalogue_path(shop)))
            self._known[shop] = _Known(tag, places)
            _log.info("shop %s: a catalogue of %d items", shop, len(places.categories))
        except (LiveshelfError, OSError, EOFError) as exc:
            _log.warning("shop %s keeps its catalogue: %s", shop, exc)
        except Exception:
            _log.exception("shop %s keeps its catalogue", shop)
