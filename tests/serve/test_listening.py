from __future__ import annotations

import socket

import pytest

from app.serve.listening import Listening
from app.serve.startup_refused import StartupRefused
from app.settings import Settings


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)


def test_a_free_port_is_picked_for_all_addresses_of_a_host():
    """Port 0 picks one port for every address that the host's name stands for, and the address says which."""
    listening = Listening.bind(settings(host="localhost", port=0))
    listening.listen()
    ports = {listener.getsockname()[1] for listener in listening.sockets}
    assert listening.address == f"http://localhost:{ports.pop()}"
    assert not ports
    listening.close()


def test_it_does_not_listen_before_it_is_told():
    """Clients are refused until the service can serve them."""
    listening = Listening.bind(settings(port=0))
    port = listening.sockets[0].getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
    listening.listen()
    socket.create_connection(("127.0.0.1", port), timeout=10).close()
    listening.close()


def test_two_that_bound_the_same_port_do_not_both_listen():
    """SO_REUSEADDR lets two services bind one port before either listens; the second to listen is refused."""
    first = Listening.bind(settings(port=0))
    port = first.sockets[0].getsockname()[1]
    try:
        second = Listening.bind(settings(port=port))
    except StartupRefused:  # not every system lets it
        first.close()
        return
    first.listen()
    with pytest.raises(StartupRefused, match="in use by another process"):
        second.listen()
    first.close()
    second.close()


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1"])
def test_an_address_of_another_machine_is_refused(host):
    """A host that is not this machine's is named in the refusal, with the setting."""
    with pytest.raises(StartupRefused, match=rf"(?s){host}.*PAGEPOOL_HOST|PAGEPOOL_HOST.*{host}"):
        Listening.bind(settings(host=host, allow_anonymous=True))


def test_a_path_that_does_not_fit_a_socket_is_refused(tmp_path):
    """A Unix socket path that is too long is refused by name."""
    path = tmp_path / ("x" * 120)
    with pytest.raises(StartupRefused, match=r"x .*AF_UNIX path too long.*PAGEPOOL_UDS"):
        Listening.bind(settings(uds=path))


def test_closing_leaves_a_successors_socket_alone(tmp_path):
    """A service that ends removes its own socket, not that of a service that took the path meanwhile."""
    path = tmp_path / "http.sock"
    first = Listening.bind(settings(uds=path))
    path.rename(tmp_path / "kept")  # so that its inode is not given to the next
    second = Listening.bind(settings(uds=path))
    first.close()
    assert path.exists()
    second.close()
    assert not path.exists()
