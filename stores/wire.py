"""Many commands in one exchange with a server: redis-py makes and keeps the connections, hiredis packs and reads.

redis-py's own pipeline takes several times as long a command, in Python. Answers are as the protocol (RESP3) has them:
bytes, numbers, lists, ``dict``, ``None``, and exceptions for errors; ``SET`` answers ``b"OK"``.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import hiredis
from redis import Redis
from redis._parsers.hiredis import NOT_ENOUGH_DATA

from stores.login import Renewal
from stores.scripts import Command

__all__ = ["PROTOCOL", "Exchange"]

PROTOCOL: Final = 3
_PIECE: Final = 32 * 1024


class Exchange:
    """One exchange: sent by the constructor, read by :meth:`answers`, so that several servers work side by side.

    Both raise redis-py's ConnectionError or TimeoutError. The connection goes back to its pool when all answers were
    read, and is closed otherwise: nobody shall read the rest as the answers to something else.
    """

    def __init__(self, server: Redis, commands: Sequence[Command], renewal: Renewal | None = None) -> None:
        self._count = len(commands)
        self._pool = server.connection_pool
        self._connection = self._pool.get_connection()
        self._over = False
        try:
            if renewal:
                renewal.see(self._connection)
            self._connection.send_packed_command(_pieces(commands), check_health=False)  # type: ignore[no-untyped-call]
        except BaseException:
            self.close()
            raise

    def answers(self) -> list[Any]:
        """The answers in the order of the commands; an error is an exception among them."""
        try:
            answers = _read(self._connection, self._count)
        except BaseException:
            self.close()
            raise
        self._over = True
        self._pool.release(self._connection)
        return answers

    def close(self) -> None:
        """Give the exchange up, its answers unread. Nothing where it is over: the connection is somebody else's."""
        if self._over:
            return
        self._over = True
        self._connection.disconnect()  # type: ignore[no-untyped-call]
        self._pool.release(self._connection)


def _pieces(commands: Sequence[Command]) -> Iterator[bytes]:
    """What is sent, in pieces of 32 KB or a command more: the server begins with one while the next is packed, and
    their memory is not asked of the system each time."""
    piece: list[bytes] = []
    size = 0
    for packed in map(hiredis.pack_command, commands):
        piece.append(packed)
        size += len(packed)
        if size >= _PIECE:
            yield b"".join(piece)
            piece, size = [], 0
    yield b"".join(piece)


def _read(connection: Any, count: int) -> list[Any]:
    """The next ``count`` answers. Not by ``connection.read_response``, which does a good deal more for each."""
    answers: list[Any] = []
    parser = connection._parser
    reader = parser._reader
    while len(answers) < count:
        answer = reader.gets()
        if answer is NOT_ENOUGH_DATA:
            parser.read_from_socket()
        elif isinstance(answer, hiredis.PushNotification):
            parser.handle_push_response(answer)
        else:
            answers.append(answer)
    return answers
