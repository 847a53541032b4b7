"""A MariaDB server of the tests' own, with the tables of Specify that matter here."""

import contextlib
import getpass
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.support import free_port

_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"))

READER, PASSWORD = "reader", "only SELECT: 100%"

#: As Specify makes them, the columns that matter.
_SCHEMA = (
    "CREATE DATABASE specify CHARACTER SET utf8mb3",
    "USE specify",
    "CREATE TABLE collection (UserGroupScopeId INT PRIMARY KEY, CollectionName VARCHAR(50), DisciplineID INT NOT NULL)",
    "CREATE TABLE attachment (AttachmentID INT AUTO_INCREMENT PRIMARY KEY, AttachmentLocation VARCHAR(128),"
    " OrigFilename MEDIUMTEXT NOT NULL, MimeType VARCHAR(1024), ScopeType TINYINT, ScopeID INT,"
    " TimestampCreated DATETIME NOT NULL, IsPublic BIT(1) NOT NULL DEFAULT 0, TableID SMALLINT) ENGINE=InnoDB",
    "CREATE TABLE collectionobject (CollectionObjectID INT AUTO_INCREMENT PRIMARY KEY, CatalogNumber VARCHAR(32),"
    " EmbargoStartDate DATETIME, EmbargoStartDatePrecision TINYINT, EmbargoReleaseDate DATETIME,"
    " EmbargoReleaseDatePrecision TINYINT, TimestampModified DATETIME) ENGINE=InnoDB",
    "CREATE TABLE collectionobjectattachment (CollectionObjectAttachmentID INT AUTO_INCREMENT PRIMARY KEY,"
    " AttachmentID INT NOT NULL, CollectionObjectID INT NOT NULL, Ordinal INT NOT NULL DEFAULT 0,"
    " KEY (AttachmentID), KEY (CollectionObjectID)) ENGINE=InnoDB",
    f"CREATE USER {READER} IDENTIFIED BY '{PASSWORD}'",
    f"GRANT SELECT ON specify.attachment TO {READER}",
    f"GRANT SELECT ON specify.collection TO {READER}",
    f"GRANT SELECT ON specify.collectionobject TO {READER}",
    f"GRANT SELECT ON specify.collectionobjectattachment TO {READER}",
)


@dataclass
class Database:
    """A running server, which can be stopped and started again."""

    port: int
    socket: Path
    command: Sequence[str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    connection: "pymysql.Connection[Any] | None" = None
    lock: threading.Lock = field(default_factory=threading.Lock)  # of the connection

    def start(self) -> None:
        """Starts the server and waits until it accepts connections."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        for _ in range(300):
            if self.process.poll() is not None:
                break
            if self.socket.exists():
                return
            time.sleep(0.1)
        raise AssertionError(f"MariaDB did not start: {self.log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """Stops the server."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
        self.socket.unlink(missing_ok=True)
        self.process = None

    def run(self, statement: str, rows: Sequence[tuple[Any, ...]] = ()) -> tuple[tuple[Any, ...], ...]:
        """Runs a statement as its administrator, once for each of the rows if there are any. Any thread may call."""
        with self.lock:
            return self._run(statement, rows)

    def _run(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> tuple[tuple[Any, ...], ...]:
        if self.connection is None:
            options: dict[str, Any] = {"unix_socket": str(self.socket), "user": getpass.getuser(), "charset": "utf8mb4"}
            self.connection = pymysql.connect(**options, autocommit=True)
        with self.connection.cursor() as cursor:
            if not statement.startswith("CREATE DATABASE"):
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
    port = free_port()
    common = ["--no-defaults", f"--datadir={data}", f"--user={user}"]
    options = ["--auth-root-authentication-method=socket", f"--auth-root-socket-user={user}", "--skip-test-db"]
    subprocess.run([install, *common, *options, "--innodb-flush-method=nosync"], capture_output=True, check=True)
    # Nothing is written through to the disk: these data are thrown away.
    quick = ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-flush-method=nosync"]
    small = [*quick, "--innodb-buffer-pool-size=16M", "--performance-schema=off", "--skip-log-bin"]
    command = [server, *common, *small, f"--socket={path}", "--bind-address=127.0.0.1", f"--port={port}"]
    database = Database(port, path, command, folder / "log")
    try:
        database.start()
        for statement in _SCHEMA:
            if not statement.startswith("USE"):
                database.run(statement)
        yield database
    finally:
        database.stop()
