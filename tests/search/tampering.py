"""Studies that somebody has prepared for those who read them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

CALL = "{_target_:os.system,command:'touch executed'}"


def prepare(folder: Path, key: str, text: str) -> None:
    """Add an override to all trials of a run folder."""
    with closing(sqlite3.connect(folder / "study.db")) as database, database:
        where = "from trial_user_attributes where key = ?"
        for number, told in database.execute(
            f"select trial_id, value_json {where}", [key]
        ).fetchall():
            changed = json.dumps([*json.loads(told), text])
            database.execute(
                "update trial_user_attributes set value_json = ? where trial_id = ? and key = ?",
                [changed, number, key],
            )
