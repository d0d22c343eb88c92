"""Where the one-machine stack keeps what it downloads and what it runs on: never inside the checkout."""

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["cache_dir", "checkout", "data_dir"]


def cache_dir(env: Mapping[str, str] | None = None) -> Path:
    """Downloads and prepared data, kept between runs: ``$LIVESHELF_CACHE``, else ``liveshelf`` in the user's cache.

    >>> cache_dir({"LIVESHELF_CACHE": "/var/cache/shop"})
    PosixPath('/var/cache/shop')
    >>> cache_dir({"XDG_CACHE_HOME": "/home/ada/.cache"})
    PosixPath('/home/ada/.cache/liveshelf')
    """
    env = os.environ if env is None else env
    if own := env.get("LIVESHELF_CACHE"):
        return Path(own).expanduser().absolute()
    base = env.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").absolute() / "liveshelf"


def data_dir(env: Mapping[str, str] | None = None) -> Path:
    """Logs, checkpoints and sockets of a run: ``$LIVESHELF_DATA``, else ``run`` inside the cache.

    >>> data_dir({"LIVESHELF_CACHE": "/var/cache/shop"})
    PosixPath('/var/cache/shop/run')
    """
    env = os.environ if env is None else env
    if own := env.get("LIVESHELF_DATA"):
        return Path(own).expanduser().absolute()
    return cache_dir(env) / "run"


def checkout() -> Path:
    """The folder that holds the packages."""
    return Path(__file__).resolve().parent.parent
