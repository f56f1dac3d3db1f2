"""No password of a URL in logs, whoever writes them and however it is quoted."""

import logging

import pytest

from tl_hpo.passwords import hidden_in_logs, hide


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("postgresql://me:word@host:5432/db", "postgresql://me:***@host:5432/db"),
        (r"study.storage=postgresql\://me\:word@host\:5432/db x=1",
         r"study.storage=postgresql\://me\:***@host\:5432/db x=1"),
        ("a://u:p/w@h b://u:q@h", "a://u:***@h b://u:***@h"),
        ("a://u:p@ss@h", "a://u:***@h"),
        ("x='a://h/d?user=u&password=word&z=1'", "x='a://h/d?user=u&password=***&z=1'"),
        (r"x=a\://h/d?password\=word", r"x=a\://h/d?password\=***"),
        ("a://h/d?sslpassword=word&passwd=word", "a://h/d?sslpassword=***&passwd=***"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("https://host:80/path and me@host", "https://host:80/path and me@host"),
        ("nothing", "nothing"),
    ],
)  # fmt: skip
def test_passwords_are_hidden_and_nothing_else(text, hidden):
    assert hide(text) == hidden


def test_they_are_hidden_in_what_anybody_logs(caplog):
    before = logging.getLogRecordFactory()
    with hidden_in_logs(), caplog.at_level(logging.INFO):
        logging.getLogger("another").info("%s of %d", "db://me:word@host", 2)
        logging.getLogger("another").info("%d of %d", 1, 2)
    assert caplog.messages == ["db://me:***@host of 2", "1 of 2"]
    assert logging.getLogRecordFactory() is before
