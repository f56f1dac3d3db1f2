"""The storage of an experiment that one process writes alone: quick to read, quick to write.

Optuna's own asks the database for every list of trials, and commits every single value. Here what
this process has written is remembered, and what belongs together is committed together; the
database holds the same, and any Optuna reads it.
"""

import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb.models import TrialIntermediateValueModel as _Reached
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import delete, insert
from sqlalchemy.orm import Session, scoped_session, sessionmaker

SECONDS = 1.0  # that what a running trial has reached may wait to be written


def committed_together(study: optuna.Study) -> Any:
    """Return a context whose writes are committed as one, where the storage knows how."""
    storage = study._storage
    return storage.together() if isinstance(storage, SoleStorage) else nullcontext()


class SoleStorage(_CachedStorage):
    """Optuna's storage over a database that no other process writes to.

    Args:
        backend: over the database; it gets sessions of another kind.

    """

    def __init__(self, backend: RDBStorage) -> None:
        super().__init__(backend)
        self.engine = backend.engine
        self._unwritten: dict[int, dict[int, float]] = {}  # what running trials have reached
        self._due = 0.0
        self._known: set[int] = set()  # studies whose trials have all been read
        self._sessions = scoped_session(sessionmaker(bind=backend.engine, class_=_Session))
        backend.scoped_session = cast(Any, self._sessions)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Commit the writes of this thread within the block as one, whatever ends it."""
        session = self._sessions()
        if session.held:
            yield
            return
        session.held = True
        try:
            yield
        finally:
            session.held = False
            try:
                session.commit()
            finally:
                session.close()

    def remove_session(self) -> None:
        """Close the session of this thread."""
        self._backend.remove_session()

    # What is read

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; a copy while it may change."""
        with self._lock:
            trial = self._remembered(trial_id)
        if trial is None:
            return super().get_trial(trial_id)
        return trial if trial.state.is_finished() else copy.deepcopy(trial)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        if study_id not in self._known:
            super()._read_trials_from_remote_storage(study_id)
            self._known.add(study_id)

    # What is written

    def create_new_study(self, *args: Any, **kwargs: Any) -> int:
        """Make a study, which has no trials."""
        study_id = super().create_new_study(*args, **kwargs)
        self._known.add(study_id)
        return study_id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:  # fmt: skip
        """Set a parameter."""
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        value = distribution.to_external_repr(param_value_internal)

        def change(trial: FrozenTrial) -> None:
            trial.params = {**trial.params, param_name: value}
            trial.distributions = {**trial.distributions, param_name: distribution}

        self._remember(trial_id, change)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Set what a trial has reached at a step; the database has it within `SECONDS` or so."""
        with self._lock:
            trial = self._remembered(trial_id)
            if trial is None or trial.state.is_finished():  # the database knows what to say
                super().set_trial_intermediate_value(trial_id, step, intermediate_value)
                return
            self._unwritten.setdefault(trial_id, {})[step] = intermediate_value

        def change(trial: FrozenTrial) -> None:
            trial.intermediate_values = {**trial.intermediate_values, step: intermediate_value}

        self._remember(trial_id, change)
        if time.monotonic() >= self._due:
            self._write_values(list(self._unwritten))

    def _write_values(self, trial_ids: Sequence[int]) -> None:
        """Write what trials have reached: of one that is interrupted before, it does not count."""
        with self.together():
            session = self._sessions()
            for trial_id in trial_ids:
                values = self._unwritten.pop(trial_id, {})
                before = _Reached.trial_id == trial_id, _Reached.step.in_(list(values))
                session.execute(delete(_Reached).where(*before))
                session.execute(insert(_Reached), [_row(trial_id, *v) for v in values.items()])
        self._due = time.monotonic() + SECONDS

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute."""
        super().set_trial_user_attr(trial_id, key, value)
        self._remember(trial_id, lambda trial: trial.set_user_attr(key, _stored(value)))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of Optuna's own."""
        super().set_trial_system_attr(trial_id, key, value)

        def change(trial: FrozenTrial) -> None:
            trial._system_attrs = {**trial._system_attrs, key: _stored(value)}

        self._remember(trial_id, change)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set the state, and the values of a trial that is over."""
        if trial_id in self._unwritten:
            self._write_values([trial_id])
        changed = super().set_trial_state_values(trial_id, state, values)
        trial = self._backend.get_trial(trial_id)  # with the times, which the database sets
        with self._lock:
            place = self._trial_id_to_study_id_and_number.get(trial_id)
            if place is not None:
                self._add_trials_to_cache(place[0], [trial])
        return changed

    def _remember(self, trial_id: int, change: Callable[[FrozenTrial], None]) -> None:
        """Replace a remembered trial: lists that were given out before stay as they are."""
        with self._lock:
            trial = self._remembered(trial_id)
            if trial is None:
                return
            changed = copy.copy(trial)
            changed.user_attrs = dict(trial.user_attrs)
            change(changed)
            self._add_trials_to_cache(self._trial_id_to_study_id_and_number[trial_id][0], [changed])

    def _remembered(self, trial_id: int) -> FrozenTrial | None:
        place = self._trial_id_to_study_id_and_number.get(trial_id)
        return self._studies[place[0]].trials[place[1]] if place else None


class _Session(Session):
    """A session that can hold its commits back; one per thread."""

    held = False

    def commit(self) -> None:
        if self.held:
            self.flush()
        else:
            super().commit()

    def close(self) -> None:
        if not self.held:
            super().close()


def _row(trial_id: int, step: int, value: float) -> dict[str, Any]:
    stored, kind = _Reached.intermediate_value_to_stored_repr(value)
    return {
        "trial_id": trial_id,
        "step": step,
        "intermediate_value": stored,
        "intermediate_value_type": kind,
    }


def _stored(value: Any) -> Any:
    """Return a value as the database gives it back."""
    return json.loads(json.dumps(value))
