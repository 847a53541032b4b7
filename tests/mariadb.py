"""A MariaDB server of the tests' own, with the tables of Specify that matter here."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pytest

_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"))

READER, PASSWORD = "reader", "only SELECT: 100%"

#: As Specify makes them, the columns that matter.
_SCHEMA = (
    "CREATE DATABASE specify CHARACTER SET utf8mb3",
    "USE specify",
    "CREATE TABLE collection (UserGroupScopeId INT PRIMARY KEY, CollectionName VARCHAR(50), DisciplineID INT NOT NULL)",
    "CREATE TABLE attachment (AttachmentID INT AUTO_INCREMENT PRIMARY KEY, AttachmentLocation VARCHAR(128),"
    " OrigFilename MEDIUMTEXT NOT NULL, MimeType VARCHAR(1024), ScopeType TINYINT, ScopeID INT,"
    " TimestampCreated DATETIME NOT NULL) ENGINE=InnoDB",
    f"CREATE USER {READER} IDENTIFIED BY '{PASSWORD}'",
    f"GRANT SELECT ON specify.attachment TO {READER}",
    f"GRANT SELECT ON specify.collection TO {READER}",
)


@dataclass(frozen=True)
class Database:
    """A running server."""

    port: int
    socket: Path

    def run(self, statement: str, rows: Sequence[tuple[Any, ...]] = ()) -> tuple[tuple[Any, ...], ...]:
        """Runs a statement as its administrator, once for each of the rows if there are any."""
        options: dict[str, Any] = {"unix_socket": str(self.socket), "user": getpass.getuser(), "charset": "utf8mb4"}
        with pymysql.connect(**options, autocommit=True) as connection, connection.cursor() as cursor:
            if statement.startswith("CREATE DATABASE") is False:
                cursor.execute("USE specify")
            if rows:
                cursor.executemany(statement, rows)
            else:
                cursor.execute(statement)
            return cursor.fetchall()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Database]:
    """Starts a server with an empty data folder; skips the test where MariaDB is not installed."""
    server, install = (shutil.which(name, path=_PATH) for name in ("mariadbd", "mariadb-install-db"))
    if server is None or install is None:
        pytest.skip("MariaDB is not installed: script/bootstrap --dev")
    data, user = folder / "data", getpass.getuser()
    path = Path(f"/tmp/mariadb-{os.getpid()}.sock")  # a socket's path must be short
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = ["--no-defaults", f"--datadir={data}", f"--user={user}"]
    options = ["--auth-root-authentication-method=socket", f"--auth-root-socket-user={user}", "--skip-test-db"]
    subprocess.run([install, *common, *options], capture_output=True, check=True)
    small = ["--innodb-buffer-pool-size=16M", "--skip-log-bin", "--bind-address=127.0.0.1", f"--port={port}"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([server, *common, *small, f"--socket={path}"], stdout=log, stderr=log)
    try:
        database = Database(port, path)
        _await(database, process, folder / "log")
        for statement in _SCHEMA:
            if not statement.startswith("USE"):
                database.run(statement)
        yield database
    finally:
        process.terminate()
        process.wait(60)
        path.unlink(missing_ok=True)


def _await(database: Database, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        if database.socket.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"MariaDB did not start: {log.read_text(errors='replace')[-2000:]}")
