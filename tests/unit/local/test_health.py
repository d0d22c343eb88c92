"""Ports are free when they are said to be; a wait ends at its deadline with a reason."""

import socket

import pytest

from contracts.errors import LocalStackError
from local.health import http_ok, tail, tcp_open, wait_until
from local.ports import LOOPBACK, free_port, is_free


def test_a_preferred_port_is_taken_unless_it_is_in_use():
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        port = server.getsockname()[1]
        assert not is_free(port)
        assert free_port(port) != port
        assert tcp_open(port)()
    assert not tcp_open(port)()


def test_chosen_ports_are_avoided():
    first = free_port()
    assert free_port(first, avoid=[first]) != first


def test_a_server_that_does_not_answer_is_not_well():
    assert not http_ok(f"http://{LOOPBACK}:{free_port()}/")()


def test_a_death_ends_the_wait_at_once_with_the_log(tmp_path):
    log = tmp_path / "x.log"
    log.write_text("one\ntwo\n")
    with pytest.raises(LocalStackError, match=r"(?s)the shop burned down.*x\.log.*two"):
        wait_until(lambda: False, "the shop", seconds=600, dead=lambda: "burned down", log=log)


def test_only_the_end_of_a_long_log_is_shown(tmp_path):
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert tail(log, 2) == "    line 99998\n    line 99999"
