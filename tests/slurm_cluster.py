"""A SLURM cluster of one node on this machine, with a configuration and state of its own.

By hand: ``python tests/slurm_cluster.py`` runs one until Ctrl-C, and says how to
use it. It needs Debian's packages slurm-wlm and munge, and root, whom slurmd wants to be.
"""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
SECONDS_TO_START = 60
SECONDS_TO_END = 20
_PR_SET_PDEATHSIG = 1  # of prctl
_SYSTEM = "/usr/sbin:/usr/local/sbin"  # where daemons lie, which is not on everybody's PATH

# Everything listens on the loopback interface alone. A requeued job waits for `cred_expire`.
_CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=2
MinJobAge=60
JobRequeue=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=8000
PartitionName=main Nodes=ALL Default=YES MaxTime=60 DefMemPerCPU=500
"""


def why_not() -> str:
    """Return why there can be no cluster here, or nothing."""
    missing = [name for name in PROGRAMS if _find(name) is None]
    if missing:
        return f"SLURM is not installed (Debian: slurm-wlm, munge): no {', '.join(missing)}"
    return "" if os.geteuid() == 0 else "slurmd runs as root only"


@contextmanager
def cluster(cpus: int = 4) -> Iterator[dict[str, str]]:
    """Run a cluster until the block ends; the value is the environment that its commands need."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # a short path: it holds a socket
    daemons: list[subprocess.Popen[bytes]] = []
    environment = {"SLURM_CONF": str(folder / "slurm.conf")}
    try:
        _configure(folder, cpus)
        daemons.append(_start_munge(folder))
        daemons.append(_start(folder, "slurmctld", "-D", "-i"))
        daemons.append(_start(folder, "slurmd", "-D"))
        _wait_until_idle(folder, daemons)
        yield environment
    finally:
        if len(daemons) == 3:
            _end_jobs(folder)
        for daemon in reversed(daemons):
            _end(daemon)
        shutil.rmtree(folder, ignore_errors=True)


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{_SYSTEM}")


def _configure(folder: Path, cpus: int) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    controller, node = _free_ports(2)
    host = socket.gethostname().partition(".")[0]
    values = {"folder": folder, "host": host, "controller": controller, "node": node, "cpus": cpus}
    (folder / "slurm.conf").write_text(_CONFIGURATION.format(**values))


def _free_ports(n: int) -> list[int]:
    probes = [socket.socket() for _ in range(n)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _start_munge(folder: Path) -> "subprocess.Popen[bytes]":
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid"}
    files |= {"log-file": "log", "seed-file": "seed"}
    paths = [f"--{option}={folder}/munge.{suffix}" for option, suffix in files.items()]
    daemon = _start(folder, "munged", "--foreground", "--force", *paths)
    _wait_for(lambda: (folder / "munge.socket").exists(), folder, [daemon])
    return daemon


def _start(folder: Path, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
    path = _find(program)
    assert path is not None
    with (folder / f"{program}.out").open("wb") as output:
        return subprocess.Popen(
            [path, *arguments],
            env=os.environ | _environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_the_parent,
        )


def _end_with_the_parent() -> None:
    """Have the kernel end this process when the one that started it is gone, even by SIGKILL."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_until_idle(folder: Path, daemons: "Sequence[subprocess.Popen[bytes]]") -> None:
    _wait_for(lambda: _say(folder, "sinfo", "-h", "-o", "%T").strip() == "idle", folder, daemons)


def _wait_for(reached: object, folder: Path, daemons: "Sequence[subprocess.Popen[bytes]]") -> None:
    assert callable(reached)
    deadline = time.monotonic() + SECONDS_TO_START
    while not reached():
        dead = [daemon.args for daemon in daemons if daemon.poll() is not None]
        if dead or time.monotonic() > deadline:
            logs = [f"{path.name}:\n{path.read_text()[-2000:]}" for path in _logs(folder)]
            raise RuntimeError("\n".join([f"the cluster does not start; ended: {dead}", *logs]))
        time.sleep(0.1)


def _logs(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.out"), *folder.glob("*.log")])


def _end_jobs(folder: Path) -> None:
    """End all jobs: their processes are not children of ours."""
    _say(folder, "scancel", "--user", "root")
    deadline = time.monotonic() + SECONDS_TO_END
    while _say(folder, "squeue", "-h").strip() and time.monotonic() < deadline:
        time.sleep(0.1)


def _say(folder: Path, *command: str) -> str:
    environment = os.environ | _environment(folder)
    try:
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SECONDS_TO_END
        )
    except subprocess.TimeoutExpired:
        return ""
    return result.stdout


def _environment(folder: Path) -> dict[str, str]:
    return {"SLURM_CONF": str(folder / "slurm.conf")}


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    daemon.terminate()
    try:
        daemon.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def main() -> None:
    """Run a cluster until Ctrl-C."""
    reason = why_not()
    if reason:
        raise SystemExit(reason)
    began = time.monotonic()
    with cluster() as environment:
        print(f"ready after {time.monotonic() - began:.1f} s; in another terminal:", flush=True)
        for name, value in environment.items():
            print(f"export {name}={value}", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print("ending")


if __name__ == "__main__":
    main()
