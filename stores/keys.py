"""Where the document of API keys lies: a file, or a secret of AWS Secrets Manager."""

import os
import tempfile
from pathlib import Path
from typing import Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from contracts.access import KeyDocument, decode_keys
from contracts.errors import ContractError, SettingsError, StoreError
from contracts.settings import Settings
from stores.aws import client

__all__ = ["KeyStore"]

_SECRET: Final = ("arn:", "secret:")


class KeyStore:
    """The document at ``settings.serving.keys``: a path, ``secret:<name>``, or a secret's ARN."""

    def __init__(self, settings: Settings, place: str | None = None) -> None:
        self._settings = settings
        self.place = place or settings.serving.keys
        self._secret = self.place.removeprefix("secret:") if self.place.startswith(_SECRET) else None

    def read(self) -> KeyDocument:
        """The document.

        Raises:
            SettingsError: there is none, or it cannot be read.
            StoreError: Secrets Manager did not answer.
        """
        try:
            return decode_keys(self._bytes())
        except ContractError as exc:
            message = f"{self.place}: {exc}; python -m serving.keys makes one"
            raise SettingsError(message) from exc

    def _bytes(self) -> bytes:
        if self._secret is not None:
            return self._of_secret(self._secret)
        try:
            return Path(self.place).read_bytes()
        except OSError as exc:
            message = (
                f"the API keys at {self.place} cannot be read: {exc.strerror}; python -m serving.keys makes the file"
            )
            raise SettingsError(message) from exc

    def _of_secret(self, name: str) -> bytes:
        try:
            answer = client("secretsmanager", self._settings).get_secret_value(SecretId=name)
        except (ClientError, BotoCoreError) as exc:
            code = exc.response["Error"]["Code"] if isinstance(exc, ClientError) else type(exc).__name__
            message = f"secret {name} cannot be read ({code}); check its name, and that the role may GetSecretValue it"
            raise (SettingsError if code == "ResourceNotFoundException" else StoreError)(message) from exc
        return bytes(answer["SecretString"].encode() if "SecretString" in answer else answer["SecretBinary"])

    def write(self, document: KeyDocument) -> None:
        """Replace the document as a whole; a file is readable by its owner alone.

        Raises:
            StoreError: it cannot be written.
        """
        data = msgspec.json.format(msgspec.json.encode(document), indent=2)
        if self._secret is None:
            return _write_file(Path(self.place), data)
        secrets = client("secretsmanager", self._settings)
        try:
            try:
                secrets.put_secret_value(SecretId=self._secret, SecretString=data.decode())
            except secrets.exceptions.ResourceNotFoundException:
                secrets.create_secret(Name=self._secret, SecretString=data.decode())
        except (ClientError, BotoCoreError) as exc:
            code = exc.response["Error"]["Code"] if isinstance(exc, ClientError) else type(exc).__name__
            message = f"secret {self._secret} cannot be written ({code}); check that the role may PutSecretValue it"
            raise StoreError(message) from exc
        return None


def _write_file(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}."
        )  # made readable by the owner alone
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except OSError as exc:
        message = f"the API keys cannot be written to {path}: {exc.strerror}; check the folder"
        raise StoreError(message) from exc
