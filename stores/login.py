"""Logging in to ElastiCache by IAM: signed tokens instead of a password, and connections that do not outlive them."""

import random
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

import botocore.session
from botocore.model import ServiceId
from botocore.signers import RequestSigner
from redis.credentials import CredentialProvider

__all__ = ["CONNECTION_LIFE_S", "TOKEN_LIFE_S", "IamLogin", "Renewal"]

TOKEN_LIFE_S: Final = 900
"""A token opens connections for 15 minutes (ElastiCache user guide, "Authenticating with IAM")."""
CONNECTION_LIFE_S: Final = 11 * 3600
"""ElastiCache ends a connection 12 hours after its login. Ended by us before, no command is lost on the way."""
_JITTER: Final = 0.1


class IamLogin(CredentialProvider):
    """Gives redis-py a name and a token whenever it opens a connection, so that none is ever too old.

    Signing takes a tenth of a millisecond and no network; the role's own credentials are renewed by botocore.
    """

    def __init__(self, user: str, cache: str, region: str, session: Any = None) -> None:
        """``session`` is a botocore session; without one it is that of the process's role."""
        self._user = user
        self._cache = cache
        self._region = region
        self._session = session or botocore.session.get_session()

    def get_credentials(self) -> tuple[str, str]:
        """The user and a token that was signed now."""
        return self._user, self.token()

    def token(self) -> str:
        """A presigned request to connect, without its scheme: what the server takes as the password.

        Raises:
            botocore.exceptions.NoCredentialsError: the process has no role.
        """
        signer = RequestSigner(
            ServiceId("elasticache"),
            self._region,
            "elasticache",
            "v4",
            self._session.get_credentials(),
            self._session.get_component("event_emitter"),
        )
        query = urlencode({"Action": "connect", "User": self._user, "ResourceType": "ServerlessCache"})
        request = {"method": "GET", "url": f"https://{self._cache}/?{query}", "body": {}, "headers": {}, "context": {}}
        signed = signer.generate_presigned_url(request, "connect", expires_in=TOKEN_LIFE_S, region_name=self._region)
        return str(signed).removeprefix("https://")


class Renewal:
    """Reopens connections that are older than they may become; not all in the same second.

    Args:
        life_s: how old a connection may become; a random tenth less for each.
        clock: seconds, only ever forward.
    """

    def __init__(self, life_s: float = CONNECTION_LIFE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._life_s = life_s
        self._clock = clock
        self._until: WeakKeyDictionary[Any, float] = WeakKeyDictionary()

    def see(self, connection: Any) -> None:
        """Look at a connection of redis-py that is about to be used, and reopen it (with a new login) where it is due.

        One that redis-py reopened by itself in between is perhaps reopened once more than needed.
        """
        now = self._clock()
        until = self._until.get(connection)
        if until is not None and now < until:
            return
        if until is not None:
            connection.disconnect()
            connection.connect()
        self._until[connection] = now + self._life_s * (1 - random.uniform(0, _JITTER))
