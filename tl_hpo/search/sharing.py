"""Several processes, on several machines, on the studies of one experiment in one database.

Each of them proposes and runs trials by itself; what the others run counts as running, and what
they finish as finished. A process that runs a trial gives a sign of life for it (a heartbeat); a
trial without one waits to be run again, by whoever comes first.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, Trial, TrialState

from tl_hpo.files import waiting_lock
from tl_hpo.search.study import OWNER, finished, running

LOCK_FILE = ".shared.lock"  # of a run folder that several processes write to
POLL_SECONDS = 1.0  # between looks at what the others do
MISSED = 3  # heartbeats: then a process counts as dead


class SharedStorage(_CachedStorage):
    """The studies of one experiment in a database that holds those of many.

    Args:
        backend: over the database; it has a heartbeat.
        experiment: name that tells its studies from those of others.
        owner: name of this process.

    """

    def __init__(self, backend: RDBStorage, experiment: str, owner: str) -> None:
        super().__init__(backend)
        self.owner = owner
        self.seconds = float(backend.heartbeat_interval or 0)
        self._prefix = f"{experiment}: "
        self._alive: set[int] = set()  # trials of this process
        # When trials without any heartbeat were first seen, by study.
        self._seen: dict[int, dict[int, float]] = {}
        self._beating: threading.Thread | None = None

    # Names of studies

    def create_new_study(self, directions: Any, study_name: str | None = None) -> int:
        """Make a study of this experiment."""
        return super().create_new_study(directions, self._prefix + (study_name or ""))

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of a study of this experiment."""
        return super().get_study_id_from_name(self._prefix + study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name of a study within this experiment."""
        return super().get_study_name_from_id(study_id).removeprefix(self._prefix)

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return the studies of this experiment."""
        own = [s for s in super().get_all_studies() if s.study_name.startswith(self._prefix)]
        for study in own:
            study.study_name = study.study_name.removeprefix(self._prefix)
        return own

    # Signs of life

    def get_heartbeat_interval(self) -> None:
        """Return none: Optuna need not warn that its own loop, which would beat, is not used."""

    def keep_alive(self, trial_id: int) -> None:
        """Give a sign of life for a trial, now and then until `let_go`."""
        self.record_heartbeat(trial_id)
        with self._lock:
            self._alive.add(trial_id)
            if self._beating is None:
                self._beating = threading.Thread(target=self._beat, daemon=True)
                self._beating.start()

    def let_go(self, trial_id: int) -> None:
        """Give no more signs of life for a trial."""
        with self._lock:
            self._alive.discard(trial_id)

    def _beat(self) -> None:
        while True:
            time.sleep(self.seconds)
            with self._lock:
                alive = list(self._alive)
            for trial_id in alive:
                try:
                    self.record_heartbeat(trial_id)
                except Exception:  # the database is away: the next one may come through
                    break

    def dead(self, study_id: int) -> list[int]:
        """Return the running trials that nobody runs any more."""
        stale = set(self._get_stale_trial_ids(study_id))
        now, before = time.monotonic(), self._seen.get(study_id, {})
        seen = self._seen[study_id] = {id_: before.get(id_, now) for id_ in self._silent(study_id)}
        gone = [id_ for id_, since in seen.items() if now - since > MISSED * self.seconds]
        return sorted(stale) + gone

    def _silent(self, study_id: int) -> list[int]:
        """Return the running trials that have had no heartbeat yet: one is due at once."""
        session = self._backend.scoped_session()
        try:
            rows = (
                session.query(models.TrialModel.trial_id)
                .outerjoin(models.TrialHeartbeatModel)
                .filter(models.TrialModel.study_id == study_id)
                .filter(models.TrialModel.state == TrialState.RUNNING)
                .filter(models.TrialHeartbeatModel.trial_id.is_(None))
            )
            return [row[0] for row in rows]
        finally:
            session.close()

    def revive(self, trial_id: int) -> bool:
        """Let a dead trial wait to be run again; False where another process has done so."""
        session = self._backend.scoped_session()
        try:
            trial = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
            beat = models.TrialHeartbeatModel.where_trial_id(trial_id, session)
            wanted = bool(trial.state == TrialState.RUNNING)
            if wanted:
                trial.state = TrialState.WAITING
                if beat is not None:  # else whoever runs it next would seem dead at once
                    session.delete(beat)
            session.commit()
            return wanted
        finally:
            session.close()


def written_alone(storage: BaseStorage, folder: Path) -> AbstractContextManager[None]:
    """Return a context in which no other process of the experiment writes to its run folder."""
    shared = isinstance(storage, SharedStorage)
    return waiting_lock(folder / LOCK_FILE, quiet=True) if shared else nullcontext()


def poll_seconds(study: optuna.Study) -> float | None:
    """Return how long to wait for what other processes do; None where there are none."""
    return POLL_SECONDS if isinstance(study._storage, SharedStorage) else None


def revive_dead(study: optuna.Study) -> None:
    """Let trials whose process has died wait to be run again."""
    storage = study._storage
    if isinstance(storage, SharedStorage):
        known = {trial._trial_id for trial in running(study)}  # doubles wait without any sign
        for trial_id in storage.dead(study._study_id):
            if trial_id in known:
                storage.revive(trial_id)


def is_surplus(study: optuna.Study, trial: Trial, n_trials: int) -> bool:
    """Tell whether others have begun enough trials, at the same moment, for this one not to be."""
    if not isinstance(study._storage, SharedStorage):
        return False
    counted = [*finished(study), *running(study)]
    return sum(each.number < trial.number for each in counted) >= n_trials


@contextmanager
def kept_alive(study: optuna.Study, trial: Trial | FrozenTrial) -> Iterator[None]:
    """Give signs of life for a trial while the block runs it."""
    storage = study._storage
    if not isinstance(storage, SharedStorage):
        yield
        return
    storage.set_trial_user_attr(trial._trial_id, OWNER, storage.owner)
    storage.keep_alive(trial._trial_id)
    try:
        yield
    finally:
        storage.let_go(trial._trial_id)


def is_taken_over(study: optuna.Study, trial: Trial) -> bool:
    """Tell whether another process has taken a trial for dead, and has it or had it."""
    storage = study._storage
    if not isinstance(storage, SharedStorage):
        return False
    stored = storage._backend.get_trial(trial._trial_id)
    own = stored.user_attrs.get(OWNER) == storage.owner
    return stored.state != TrialState.RUNNING or not own
