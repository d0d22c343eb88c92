"""``python -m serving``: the collector, the recommendation API and the storefront on one port."""

import argparse
import logging
import socket
import sys
from collections.abc import Sequence

import uvicorn

from contracts.errors import SettingsError
from contracts.settings import load
from serving.app import create_app
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
    parser.add_argument(
        "--access-log", action="store_true", help="log every request; paths hold user ids (default: off)"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; prints the address in one line once the port is taken."""
    arguments = _arguments(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        app = create_app(load(arguments.properties))
    except SettingsError as exc:
        print(f"serving: {exc}", file=sys.stderr)
        return 2
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
        http="httptools",
        ws="none",
        log_level="warning",
        access_log=arguments.access_log,
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    print(f"serving: http://{arguments.host}:{listening.getsockname()[1]}", flush=True)
    Server(config, app.state.services).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    sys.exit(main())
