"""The connection to the database of the journal."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

from assetstore.journal.events import Event
from assetstore.journal.journal import Journal
from tests.support import PROJECT

FORKING = """
import os, pathlib, sys
from assetstore.journal.events import Event
from assetstore.journal.journal import Journal
journal = Journal(pathlib.Path(sys.argv[1]))
assert journal.record(Event("stored", "", "parent"))
database = journal._database
before = database._connection
child = os.fork()
if not child:
    try:
        assert journal.record(Event("stored", "", "child"))
        assert database._connection is not before, "the child uses the connection of its parent"
        before.execute("SELECT 1")  # it is not closed: that would release the locks of the parent
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert journal.record(Event("stored", "", "parent"))
assert database._connection is before
"""


def test_a_child_process_opens_the_database_and_leaves_the_connection_of_its_parent_open(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKING, str(tmp_path)]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_journal_of_an_earlier_version_gets_the_column_for_original_names(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.record(Event("stored", "", "old.jpg"))
    journal.close()
    path = tmp_path / ".asset-server/journal/journal.sqlite"
    connection = sqlite3.connect(path)
    [(sql,)] = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'events'")
    earlier = re.sub(r",( *--.*)\n *original_name.*", r"\1", sql)
    row = connection.execute("SELECT * FROM events").fetchone()[:-1]
    connection.execute("DROP TABLE events")
    connection.execute(earlier)
    connection.execute(f"INSERT INTO events VALUES ({', '.join('?' * len(row))})", row)
    connection.commit()
    connection.close()
    assert journal.record(Event("stored", "", "new.jpg", original_name="Fötö.jpg"))
    assert [(event.name, event.original_name) for event in journal.search()] == [
        ("old.jpg", None),
        ("new.jpg", "Fötö.jpg"),
    ]
    journal.close()
