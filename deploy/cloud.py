"""The account and region that a command works in, and AWS's refusals as sentences that say what to do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)

from contracts.errors import DeploymentError

__all__ = ["Cloud", "connect", "named_region", "sentence", "understood"]

_LOGIN: Final = "log in again (aws sso login, or new AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
_REMEDIES: Final = {
    "ExpiredToken": f"the credentials have expired; {_LOGIN}",
    "ExpiredTokenException": f"the credentials have expired; {_LOGIN}",
    "RequestExpired": "the clock of this machine is wrong; set it and repeat",
    "InvalidClientTokenId": f"AWS does not know these credentials; {_LOGIN}",
    "UnrecognizedClientException": f"AWS does not know these credentials, or the region is not enabled; {_LOGIN}",
    "SignatureDoesNotMatch": "the secret key does not belong to the key id; set both anew",
    "OptInRequired": "the account has not enabled this region or service; enable it in the console",
}


@dataclass(frozen=True)
class Cloud:
    """One account in one region, with a client a service."""

    account: str
    region: str
    session: Any
    endpoint: str | None = None
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)

    def client(self, service: str) -> Any:
        """The client of a service, made once; each call is tried again for about a minute before it fails."""
        if service not in self._clients:
            config = Config(retries={"mode": "adaptive", "max_attempts": 8}, connect_timeout=5, read_timeout=60)
            self._clients[service] = self.session.client(service, endpoint_url=self.endpoint, config=config)
        return self._clients[service]


def named_region(given: str | None = None) -> str | None:
    """The region that was named: on the command line, by ``REGION`` of make, or by ``AWS_REGION``.

    boto3 itself looks at ``AWS_DEFAULT_REGION`` and the profile, not at ``AWS_REGION``, which AWS's other tools read.
    """
    return given or os.environ.get("REGION") or os.environ.get("AWS_REGION") or None


def connect(region: str | None = None, endpoint: str | None = None) -> Cloud:
    """Find credentials and region as every AWS tool does, and ask AWS whose they are.

    Raises:
        DeploymentError: there are none, or AWS refuses them; the message says what to do.
    """
    with understood("credentials"):
        session = boto3.session.Session(region_name=named_region(region))
        if session.region_name is None:
            message = "no region is set; say which: AWS_REGION=eu-central-1, or REGION=… of make"
            raise DeploymentError(message)
        if session.get_credentials() is None:
            raise NoCredentialsError
        identity = Cloud("", session.region_name, session, endpoint).client("sts").get_caller_identity()
    return Cloud(identity["Account"], session.region_name, session, endpoint)


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turn what AWS refuses inside the block into a DeploymentError that names ``what`` and the remedy."""
    try:
        yield
    except (BotoCoreError, ClientError) as exc:
        message = f"{what}: {sentence(exc)}"
        raise DeploymentError(message) from exc


def sentence(exc: Exception) -> str:
    """What happened, and what to do.

    >>> sentence(NoRegionError())
    'no region is set; say which: AWS_REGION=eu-central-1'
    """
    if isinstance(exc, NoCredentialsError | PartialCredentialsError):
        return "no credentials were found; log in with aws configure or aws sso login, or set AWS_PROFILE"
    if isinstance(exc, NoRegionError):
        return "no region is set; say which: AWS_REGION=eu-central-1"
    if isinstance(exc, ProfileNotFound):
        return f"{exc}; AWS_PROFILE names one that ~/.aws/config has not"
    if isinstance(exc, TokenRetrievalError):
        return f"the login has expired; {_LOGIN}"
    if isinstance(exc, EndpointConnectionError):
        return f"{exc}; look at the network, and whether the region exists"
    if isinstance(exc, ClientError):
        return _refused(exc)
    return str(exc)


def _refused(exc: ClientError) -> str:
    code, text = exc.response["Error"]["Code"], exc.response["Error"].get("Message", "")
    if remedy := _REMEDIES.get(code):
        return remedy
    if "AccessDenied" in code or "Unauthorized" in code:
        return f"{text or code}; this permission is missing (make doctor lists all that are needed)"
    return f"{code}: {text}"
