"""Two replicas of the service behind a balancer, restarted one after the other under load (a rolling update)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import httpx

from tests.harness import pages
from tests.harness.area import OCTETS
from tests.harness.redis_server import RedisServer, free_port, until
from tests.harness.service import Service
from tests.serve.balancer import Balancer

OWN_SERVICE = True
RETRY_SECONDS = 0.2
RETRIED = {502, 503}


class Client:
    """Stores and loads one page over and over through the balancer, trying each request twice at most."""

    def __init__(self, port: int, type_: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1/pages/{type_}/0"
        self.requests = 0
        self.retries = 0
        self.lost: list[str] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with httpx.Client(trust_env=False, timeout=20, headers=OCTETS) as client:
            seed = 0
            while not self._is_over.is_set():
                seed += 1
                page = pages.compressible(seed)
                self._call(client, "PUT", 204, page)
                answer = self._call(client, "GET", 200, None)
                if answer != page:
                    self.lost.append("a load gave another page than was stored")

    def _call(self, client: httpx.Client, method: str, status: int, body: bytes | None) -> bytes:
        self.requests += 1
        problem = ""
        for attempt in range(2):
            try:
                response = client.request(method, self.url, content=body)
            except httpx.TransportError as error:
                problem = repr(error)
            else:
                if response.status_code == status:
                    return response.content
                problem = f"{response.status_code} {response.text}"
                if response.status_code not in RETRIED:
                    break
            if attempt == 0:
                self.retries += 1
                time.sleep(RETRY_SECONDS)
        self.lost.append(f"{method}: {problem}")
        return b""

    def end(self) -> None:
        """Let it end its request."""
        self._is_over.set()
        self._thread.join(30)


def takes_its_share(balancer: Balancer, replica: Service) -> None:
    """Wait until a replica has answered a few requests."""
    before = balancer.answered_by[replica.port]
    until(lambda: balancer.answered_by[replica.port] > before + 20, 20, "the replica takes its share")


def test_rolling_restart(start_redis: Callable[..., RedisServer], start_service: Callable[..., Service]) -> None:
    """No request is lost to a client that tries it once more, and no answer is wrong, while each replica restarts."""
    url = start_redis().url
    replicas = [start_service(redis_url=url, port=str(free_port())) for _ in range(2)]
    with Balancer([replica.port for replica in replicas]) as balancer:
        until(lambda: len(balancer._well) == 2, 10, "the balancer knows both")
        clients = [Client(balancer.port, type_) for type_ in range(1, 5)]
        try:
            for replica in replicas:
                takes_its_share(balancer, replica)
                replica.stop()
                replica.start()
                takes_its_share(balancer, replica)
        finally:
            for client in clients:
                client.end()
    requests, retries = sum(client.requests for client in clients), sum(client.retries for client in clients)
    print(f"{requests} requests, {retries} of them tried twice")
    assert [lost for client in clients for lost in client.lost] == []
    assert requests > 100
    assert retries < requests / 10, f"{retries} of {requests} requests had to be tried again"
