"""The load charges a server for all that it does, and for nothing that it does not do."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.serve_load import Ask, http_answer, run

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"source":"live"}'


@contextmanager
def server(answer: Callable[[int, socket.socket], None]) -> Iterator[int]:
    """Calls ``answer(number of the request, connection)`` for each request, one connection after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            number = 0
            try:
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        while connection.recv(65_536):
                            answer(number, connection)
                            number += 1
            except OSError:
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def ask(port: int, *, rate: float, seconds: float = 0.5) -> Ask:
    target = b"GET / HTTP/1.1\r\n\r\n"
    return Ask(
        host="127.0.0.1",
        port=port,
        connections=1,
        seconds=seconds,
        rate=rate,
        reply="http",
        targets=[target],
        order=[0],
    )


def test_every_request_of_the_rate_is_sent_and_its_rung_counted() -> None:
    with server(lambda _, connection: connection.sendall(ANSWER)) as port:
        told = run(ask(port, rate=200))
    assert (told.sent, told.answered, told.errors, told.rungs) == (100, 100, {}, {"live": 100})


def test_a_stall_is_charged_for_every_request_that_was_due_meanwhile() -> None:
    go_on = threading.Event()
    threading.Timer(0.4, go_on.set).start()

    def answer(number: int, connection: socket.socket) -> None:
        if number == 0:
            go_on.wait()
        connection.sendall(ANSWER)

    with server(answer) as port:
        told = run(ask(port, rate=200))
    # 80 of 100 requests were due in the 400 ms of the stall: half of all waited 150 ms or more, not the first alone.
    assert (told.answered, told.errors) == (100, {})
    assert told.p50_ms > 100
    assert told.max_ms > 390


def test_what_is_no_200_and_what_is_closed_are_errors_by_cause() -> None:
    def answer(number: int, connection: socket.socket) -> None:
        if number == 3:
            connection.shutdown(socket.SHUT_RDWR)
        else:
            connection.sendall(ANSWER.replace(b"200", b"503") if number == 5 else ANSWER)

    with server(answer) as port:
        told = run(ask(port, rate=20))
    assert (told.sent, told.errors) == (10, {"closed": 1, "503": 1})


def test_the_closed_loop_asks_again_when_it_is_answered() -> None:
    with server(lambda _, connection: connection.sendall(ANSWER)) as port:
        told = run(ask(port, rate=0, seconds=0.2))
    assert told.sent == told.answered > 1


@pytest.mark.parametrize("cut", range(len(ANSWER)))
def test_an_answer_counts_once_it_is_whole(cut: int) -> None:
    assert http_answer(ANSWER[:cut]) is None
