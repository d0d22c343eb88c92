"""What a log may say: no key, no secret, and of people only a keyed hash, the same for the same person."""

import hashlib
import logging
import re
import secrets
from typing import Final
from urllib.parse import quote

from contracts.access import KEY_FORM

__all__ = ["Names", "Scrubbed"]

_ROUTES: Final = r"(/(?:recommendations(?:/stream)?|profile))?"
_PATH: Final = re.compile(rf"^(/v1/(?:users|visitors)/)(.+?){_ROUTES}$", re.DOTALL)
_PEOPLE: Final = re.compile(rf"(/v1/(?:users|visitors)/)([^\s?\"']+?){_ROUTES}(?=[\s?\"']|$)")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # would begin lines, or steer a terminal
_HASHED: Final = re.compile(r"~[0-9a-f]{10}")
_KEYS: Final = r"[a-z0-9_-]{1,64}(?::user:|:alias:|:batch:[^:'\"\s]*:|#[^#'\"\s]*#)"
_QUOTED: Final = re.compile(rf"(['\"]{_KEYS})([^'\"\n]+)")
_PLAIN: Final = re.compile(rf"({_KEYS}(?:(?=[ua]\.)|(?<=:alias:)))([^\s'\"]+)")
_FIELDS: Final = re.compile(r"(\\?[\"'](?:user_id|anonymous_id|subject|session_id)\\?[\"']\s*:\s*\\?[\"'])([^\"'\\]+)")
_CREDENTIALS: Final = re.compile(
    r"(?i)(authorization[\"']?\s*[:=,]\s*(?:b?[\"'])?(?:bearer\s+)?|[?&]key=|secret_access_key\S?\s*[:=]\s*)([^\s&\"']+)"
)


class Names:
    """Hashes ids with a secret key, so that who reads a log cannot try out whose hash it is.

    >>> names = Names("00ff")
    >>> names.path("/v1/users/42/recommendations") == f"/v1/users/{names.of('42')}/recommendations", names.of("42")
    (True, '~f4a13bead6')
    """

    def __init__(self, key: str = "") -> None:
        self._key = bytes.fromhex(key) if key else secrets.token_bytes(32)

    def of(self, text: str) -> str:
        """The name of an id in logs."""
        return "~" + hashlib.blake2b(text.encode(errors="replace"), key=self._key[:64], digest_size=5).hexdigest()

    def path(self, path: str) -> str:
        """A path of the API without the person in it."""
        return _CONTROL.sub(lambda found: quote(found[0]), _PATH.sub(self._person, path))

    def scrub(self, text: str) -> str:
        """A text that may have been made anywhere, exceptions included, without keys and people.

        >>> Names("00").scrub("Redis refused GET on 'default:user:u.42': lsk_abcdefghij_AAAAAAAAAAAAAAAAAAAAAAAA")
        "Redis refused GET on 'default:user:~adea41ab06': lsk_abcdefghij_***"
        """
        text = KEY_FORM.sub(lambda found: f"lsk_{found[1]}_***", text)
        text = _CREDENTIALS.sub(lambda found: found[1] + (found[2] if found[2].startswith("lsk_") else "***"), text)
        text = _PEOPLE.sub(self._person, text)
        for pattern in (_QUOTED, _PLAIN, _FIELDS):
            text = pattern.sub(self._person, text)
        return text

    def _person(self, found: re.Match[str]) -> str:
        before, person, *after = found.groups("")
        return before + (person if _HASHED.fullmatch(person) else self.of(person)) + "".join(after)


class Scrubbed(logging.Formatter):
    """Formats a record, its traceback included, and then takes out what no log may say."""

    def __init__(self, names: Names) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._names = names

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return self._names.scrub(super().format(record))
