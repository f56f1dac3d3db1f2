"""What a search and its jobs say to each other through files."""

import signal
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.search.executors.mailbox import Attempt, Heart, Messages, Pulse, decode, encode, pauses
from tl_hpo.search.executors.wire import Answer, Done, Ended, Epoch, Failed, Judged, Log, Ready
from tl_hpo.training.result import EpochRecord, PhaseSummary, TrialResult

NUMBER = st.floats(allow_nan=False)
TEXT = st.text(st.characters(codec=None))  # file names that are no UTF-8 have surrogates
METRICS = st.dictionaries(TEXT, NUMBER, max_size=3)
RECORD = st.builds(EpochRecord, TEXT, *[st.integers()] * 3, *[NUMBER] * 5)
PHASES = st.dictionaries(TEXT, st.builds(PhaseSummary, st.integers(), NUMBER, st.booleans()))
RESULT = st.builds(
    TrialResult,
    state=st.sampled_from(["COMPLETE", "PRUNED"]),
    val_accuracy=NUMBER,
    validation=METRICS,
    test=st.none() | METRICS,
    phases=PHASES,
    n_layers=st.integers(),
    delimiting_layer=st.integers(),
    trainable_parameters=st.integers(),
    seconds=NUMBER,
    objective=NUMBER,
    reason=TEXT,
    epochs=st.integers(),
)
MESSAGE = st.one_of(
    st.builds(Epoch, RECORD),
    st.builds(Judged, RESULT),
    st.builds(Done, RESULT),
    st.builds(Answer, st.booleans()),
    st.builds(Failed, TEXT, TEXT, TEXT, st.booleans()),
    st.builds(Log, TEXT, st.integers(), TEXT),
    st.just(Ended()),
)


@given(MESSAGE)
def test_a_message_is_what_it_was(message):
    assert decode(encode(message)) == message


def test_a_loss_may_be_no_number():
    record = EpochRecord("head", 1, 1, 1, float("nan"), float("inf"), 0.5, 0.5, 0.4)
    back = decode(encode(Epoch(record))).record
    assert back.train_loss != back.train_loss
    assert back == replace(record, train_loss=back.train_loss)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", "{}", encode(Ready()), '{"kind of message": "Answer"}',
     '{"kind of message": "Epoch", "record": {"phase": "head"}}',
     '{"kind of message": "Done", "result": {"phases": []}}', "[" * 100_000],
)  # fmt: skip
def test_what_is_no_message_is_refused(text):
    with pytest.raises(ValueError, match=r"no message|Expecting|enclosed"):
        decode(text)


def test_messages_come_in_order_once_they_are_there(tmp_path):
    messages = Messages(tmp_path)
    assert messages.get(1) is None
    assert [messages.put(Answer(yes)) for yes in (True, False)] == [1, 2]
    reader = Messages(tmp_path)
    assert [reader.get(number) for number in (1, 2, 3)] == [Answer(True), Answer(False), None]


def test_a_slow_reader_loses_nothing_that_many_write(tmp_path):
    messages = Messages(tmp_path)
    writers = [
        threading.Thread(target=lambda n=n: [messages.put(Log(f"{n}", i, "")) for i in range(50)])
        for n in range(4)
    ]
    for writer in writers:
        writer.start()
    read = []
    while len(read) < 200:
        message = messages.get(len(read) + 1)
        if message is None:
            time.sleep(0.01)
        else:
            read.append(message)
    for writer in writers:
        writer.join()
    for n in range(4):
        assert [each.level for each in read if each.name == f"{n}"] == list(range(50))


def test_a_signal_handler_may_write_while_its_thread_does(tmp_path):
    messages = Messages(tmp_path)

    def handler(*_):
        messages.put(Answer(True))

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with messages._writing:
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert messages.get(1) == Answer(True)


def test_nobody_writes_into_a_mailbox_that_is_gone(tmp_path):
    with pytest.raises(FileNotFoundError):
        Messages(tmp_path / "gone").put(Ended())
    assert not (tmp_path / "gone").exists()
    with pytest.raises(FileNotFoundError):
        Attempt.begin(tmp_path / "gone")


def test_every_attempt_has_messages_of_its_own(tmp_path):
    none = Attempt(tmp_path, 0)
    assert none.newest() is none
    first = Attempt.begin(tmp_path)
    first.questions.put(Ended())
    assert none.newest().number == 1
    assert first.newest() is first
    second = Attempt.begin(tmp_path)
    assert first.newest().number == second.number == 2
    assert second.questions.get(1) is None


def test_signs_of_life_carry_orders_and_their_absence_is_felt(tmp_path):
    heart, pulse = Heart(tmp_path / "alive"), Pulse(tmp_path / "alive")
    time.sleep(0.05)
    assert pulse.silence() >= 0.05
    heart.beat()
    assert pulse.silence() < 0.05
    assert pulse.order == ""
    heart.beat("stop")
    heart.beat()
    assert pulse.silence() < 0.05
    assert pulse.order == "stop"
    (tmp_path / "alive").unlink()
    time.sleep(0.05)
    assert pulse.silence() >= 0.05
    assert pulse.order == "stop"


def test_looks_become_rare():
    found = [pause for pause, _ in zip(pauses(0.1, 1.0), range(20), strict=False)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (0.1, 1.0)
