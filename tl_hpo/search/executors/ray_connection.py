"""Joins a Ray cluster, or starts one on this machine.

Imports Ray only when it is asked to: some of Ray's settings are read at its import.
"""

import importlib.util
import os
import re
import secrets
import socket
from typing import Any

from tl_hpo.errors import UserError, install
from tl_hpo.search.executors.ray_shares import Node

AUTO = "auto"
LOOPBACK = "127.0.0.1"
SECONDS_TO_ANSWER = 5.0  # Ray itself would try an address where nobody listens for minutes
OBJECT_BYTES = 100_000_000  # of Ray's object store: results are small and travel without it

_ADDRESS = re.compile(r"(?P<host>[\w.-]+):(?P<port>\d{1,5})")


class Connection:
    """This process's part in a Ray cluster.

    Args:
        owned: whether this process joined, or started, it for the executor alone.

    """

    def __init__(self, owned: bool) -> None:
        self._owned = owned

    def nodes(self) -> list[Node]:
        """Return the nodes that are alive."""
        import ray

        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return [Node(each.get("CPU", 0.0), each.get("GPU", 0.0)) for each in alive]

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._owned:
            import ray

            ray.shutdown()


def connect(
    *, address: Any, node_ip_address: Any, dashboard: Any, cores: int, on_cpu: bool
) -> Connection:
    """Join the cluster at ``address``, or start one; use that of this process where it has one.

    Args:
        address: ``auto`` (the cluster that this machine is part of), ``host:port`` of its head,
            or None: start one here.
        node_ip_address: where one that is started listens.
        dashboard: whether it has a dashboard, which always listens on loopback.
        cores: that it gives to trials.
        on_cpu: whether it gives no GPUs.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.

    """
    if importlib.util.find_spec("ray") is None:
        raise UserError(
            f"executor=ray must have the package ray, got none installed; {install('ray')}."
        )
    _check(address, node_ip_address, dashboard)
    # Nothing of an experiment is told to others, not even that there is one.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        _protect()
    if address is None and node_ip_address == LOOPBACK:
        # Ray would take the machine's public address for it: this is its switch for "no cluster".
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray

    if ray.is_initialized():
        return Connection(owned=False)
    if address is None:
        _start(node_ip_address, dashboard, cores, on_cpu)
    else:
        _join(address)
    return Connection(owned=True)


def _protect() -> None:
    """Let a Ray that is started here know its own processes: other users reach its ports.

    Ray itself would write the token to a file in the user's home that everybody may read.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _check(address: Any, node_ip_address: Any, dashboard: Any) -> None:
    if address not in (None, AUTO) and not _ADDRESS.fullmatch(str(address)):
        raise UserError(
            f"executor.address must be auto, null or HOST:PORT of the cluster's head, got "
            f"{address!r}; optimize.py itself runs on a node of the cluster."
        )
    if not isinstance(node_ip_address, str) or not node_ip_address:
        raise UserError(
            f"executor.node_ip_address must be an address of this machine, got "
            f"{node_ip_address!r}; leave it out: {LOOPBACK}, which other machines do not reach."
        )
    if not isinstance(dashboard, bool):
        raise UserError(f"executor.dashboard must be true or false, got {dashboard!r}.")


def _start(node_ip_address: str, dashboard: bool, cores: int, on_cpu: bool) -> None:
    import ray

    try:
        ray.init(
            address="local",
            num_cpus=cores,
            num_gpus=0 if on_cpu else None,
            include_dashboard=dashboard,
            dashboard_host=LOOPBACK,
            object_store_memory=OBJECT_BYTES,
            log_to_driver=False,
            configure_logging=False,
            _node_ip_address=node_ip_address,
        )
    except Exception as error:
        ray.shutdown()
        raise UserError(
            f"Ray must be able to start here, got: {_first_line(error)}; see its logs in /tmp/ray, "
            "or use executor=local."
        ) from error
    listens = ray.util.get_node_ip_address()
    if node_ip_address == LOOPBACK and listens != LOOPBACK:
        ray.shutdown()
        raise UserError(
            f"a Ray that is started here must listen on {LOOPBACK} alone, got {listens} with Ray "
            f"{ray.__version__}; set executor.node_ip_address={listens} to allow that, or start "
            "Ray yourself and set executor.address=auto."
        )


def _join(address: str) -> None:
    import ray

    if address != AUTO:
        _check_answers(address)
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except Exception as error:
        ray.shutdown()
        raise UserError(
            f"executor.address must be a Ray cluster that this machine is a node of, got "
            f"{address} ({_first_line(error)}); start one with `ray start --head`, or set "
            "executor.address=null."
        ) from error


def _check_answers(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"executor.address must be where the head of a Ray cluster listens, got {address} "
            f"({error}); start one there with `ray start --head`, or set executor.address=null."
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
