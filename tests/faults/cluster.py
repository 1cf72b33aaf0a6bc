"""A Valkey Cluster on this machine: primaries with a replica each, every one a process that can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from tests.faults.installation import PATIENCE_S

from tallystick.embedded.processes import spawn
from tallystick.embedded.programs import valkey_program

SLOTS = 16384


@dataclass
class Node:
    """One server of the cluster."""

    port: int
    bus: int
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> Redis:
        """To talk to this node alone."""
        return Redis(host="127.0.0.1", port=self.port, socket_timeout=5)

    def cluster(self, *command: str | int) -> bytes:
        """CLUSTER …"""
        answer: bytes = self.client.execute_command("CLUSTER", *command)  # type: ignore[no-untyped-call]
        return answer

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()


@dataclass
class Cluster:
    """``primaries`` as they were at the start."""

    primaries: list[Node]
    replicas: list[Node]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.primaries)

    def primaries_now(self) -> set[int]:
        """The ports of the nodes that answer as primaries with slots."""
        found = set()
        for node in [*self.primaries, *self.replicas]:
            if node.process.poll() is None and b"myself,master" in _nodes(node):
                found.add(node.port)
        return found


@contextmanager
def running_cluster(folder: Path, *, primaries: int = 3) -> Iterator[Cluster]:
    """A cluster that answers; every process ends with the block."""
    program = valkey_program(folder / "programs")
    nodes: list[Node] = []
    try:
        nodes += [_start(program, folder) for _ in range(2 * primaries)]
        _until(lambda: all(_answers(node) for node in nodes))
        cluster = Cluster(nodes[:primaries], nodes[primaries:])
        _form(cluster)
        yield cluster
    finally:
        for node in nodes:
            node.kill()


def _start(program: Path, folder: Path) -> Node:
    port, bus = _free_port(), _free_port()
    home = folder / str(port)
    home.mkdir()
    options = {
        "port": port, "bind": "127.0.0.1", "cluster-enabled": "yes", "cluster-port": bus,
        "cluster-node-timeout": 1000, "cluster-replica-validity-factor": 0, "save": "", "appendonly": "no",
        "dir": home, "repl-diskless-sync-delay": 0,
    }  # fmt: skip
    arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    log = os.open(home / "log", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        process = spawn([program, *arguments], death_signal=signal.SIGKILL, account=None, cwd=home, log=log)
    finally:
        os.close(log)
    return Node(port, bus, process)


def _form(cluster: Cluster) -> None:
    first, *others = [*cluster.primaries, *cluster.replicas]
    for node in others:
        first.cluster("MEET", "127.0.0.1", node.port, node.bus)
    share = -(-SLOTS // len(cluster.primaries))
    for number, node in enumerate(cluster.primaries):
        last = min(SLOTS, (number + 1) * share) - 1
        node.cluster("ADDSLOTSRANGE", number * share, last)
    everyone = [first, *others]
    _until(lambda: all(_nodes(node).count(b"connected") >= len(everyone) for node in everyone))
    for primary, replica in zip(cluster.primaries, cluster.replicas, strict=True):
        replica.cluster("REPLICATE", primary.cluster("MYID").decode())
    _until(lambda: all(b"cluster_state:ok" in node.cluster("INFO") for node in everyone))
    _until(lambda: all(_is_linked(node) for node in cluster.replicas))


def _is_linked(replica: Node) -> bool:
    return bool(replica.client.info("replication").get("master_link_status") == "up")


def _nodes(node: Node) -> bytes:
    return node.cluster("NODES")


def _answers(node: Node) -> bool:
    try:
        return bool(node.client.ping())
    except RedisError:
        assert node.process.poll() is None, "a node of the cluster has ended"
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the cluster does not come together"
        time.sleep(0.05)
