"""``python -m serving``: the collector, the recommendation API and the storefront on one port."""

import argparse
import gc
import logging
import socket
import sys
from collections.abc import Sequence

import uvicorn

from contracts.errors import SettingsError, StoreError
from contracts.settings import Settings, load
from serving.app import create_app
from serving.logs import Scrubbed
from serving.protocol import BoundedProtocol
from serving.services import Services

__all__ = ["main"]


class Server(uvicorn.Server):
    """Ends the open shelf streams first: uvicorn would wait for them."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        self._services.watcher.close()
        await super().shutdown(sockets)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8000, help="port to listen on; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument("--properties", help="settings file (default: $LIVESHELF_PROPERTIES, then managed Flink's)")
    parser.add_argument("--access-log", action="store_true", help="log every request, user ids hashed (default: off)")
    return parser.parse_args(argv)


def _check_open(settings: Settings, host: str) -> None:
    """Without keys the service is for this machine alone, unless the settings say otherwise.

    Raises:
        SettingsError: it would listen where others can reach it.
    """
    serving = settings.serving
    if serving.keys:
        return
    if serving.open:
        print(
            "serving: WARNING: no API keys are set and 'open' is true: anybody may read, write and forget", flush=True
        )
    elif host not in ("127.0.0.1", "::1", "localhost"):
        message = (
            f"--host is {host} and no API keys are set, so others could use everything; make keys with python -m "
            "serving.keys create and name their file in the property 'keys', or set 'open' to true for a trial"
        )
        raise SettingsError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; prints the address in one line once the port is taken."""
    arguments = _arguments(argv)
    logging.basicConfig(level=logging.WARNING)
    try:
        settings = load(arguments.properties)
        _check_open(settings, arguments.host)
        app = create_app(settings, access_log=arguments.access_log)
    except (SettingsError, StoreError) as exc:
        print(f"serving: {exc}", file=sys.stderr)
        return 2
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Scrubbed(app.state.services.names))
    if arguments.access_log:
        logging.getLogger("serving.access").setLevel(logging.INFO)
    try:
        listening = socket.create_server((arguments.host, arguments.port), backlog=2048)
    except OSError as exc:
        print(
            f"serving: cannot listen on {arguments.host}:{arguments.port}: {exc}; choose another --port",
            file=sys.stderr,
        )
        return 1
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        log_level="warning",
        access_log=False,  # the guard writes it, without user ids
        log_config=None,  # uvicorn's own handlers would write past the formatter that takes keys and ids out
        limit_concurrency=4096,
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    # Requests wait a fifth as long for a thread that reads a catalogue; cycles are rare, so they are sought less often.
    sys.setswitchinterval(0.001)
    gc.set_threshold(20_000, 20, 50)
    print(f"serving: http://{arguments.host}:{listening.getsockname()[1]}", flush=True)
    Server(config, app.state.services).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    sys.exit(main())
