"""Binding: addresses, ports in use, Unix sockets left behind."""

import os
import socket
import sys
from pathlib import Path

import pytest

from ferryman.cli.listen import ListenError, bind_tcp, bind_unix, port_holder


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def test_port_zero_takes_a_free_one_and_callers_wait_in_its_queue() -> None:
    sockets = bind_tcp("127.0.0.1", 0, "--port")
    port = sockets[0].getsockname()[1]
    assert port > 0
    with socket.create_connection(("127.0.0.1", port), 5) as caller:
        caller.sendall(b"nobody accepts yet")
    _close(sockets)


def test_ipv6_and_names_with_two_addresses() -> None:
    six = bind_tcp("::1", 0, "--port")
    assert six[0].family == socket.AF_INET6
    both = bind_tcp("localhost", 0, "--port")
    assert len({sock.getsockname()[1] for sock in both}) == 1, "one port for all addresses"
    assert socket.AF_INET in {sock.family for sock in both}
    _close(six + both)


def test_all_of_ipv6_serves_ipv4_too() -> None:
    sockets = bind_tcp("::", 0, "--port")
    with socket.create_connection(("127.0.0.1", sockets[0].getsockname()[1]), 5):
        pass
    _close(sockets)


def test_a_port_in_use_names_the_flag_and_who_holds_it() -> None:
    held = bind_tcp("127.0.0.1", 0, "--port")
    port = held[0].getsockname()[1]
    with pytest.raises(ListenError) as error:
        bind_tcp("127.0.0.1", port, "--admin-port")
    message = str(error.value)
    assert f"127.0.0.1:{port}" in message
    assert "--admin-port" in message
    assert "FERRYMAN_ADMIN_PORT" in message
    if sys.platform == "linux":
        assert f"process {os.getpid()}" in message
    _close(held)
    assert port_holder(port) == ""


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_names_the_flag(host: str) -> None:
    with pytest.raises(ListenError, match="--host") as error:
        bind_tcp(host, 0, "--port")
    assert host in str(error.value)


def test_unix_sockets_left_behind_are_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    first = bind_unix(path)
    with pytest.raises(ListenError, match="in use"):
        bind_unix(path)
    first.close()  # like a crash: the file stays
    second = bind_unix(path)
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(path)
    second.close()
    Path(path).unlink()
    Path(path).write_text("precious")
    with pytest.raises(ListenError, match="not a socket"):
        bind_unix(path)
    assert Path(path).read_text() == "precious"
    with pytest.raises(ListenError, match="--uds"):
        bind_unix(str(tmp_path / "no" / "s"))
