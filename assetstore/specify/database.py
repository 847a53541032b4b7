"""Reads Specify's attachment records from its database, MySQL or MariaDB, without changing anything.

A single read-only transaction sees a consistent snapshot of all tables. The account requires only the SELECT privilege
on `attachment` and `collection`.
"""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from assetstore.config.loading import PREFIX
from assetstore.errors import BadRequest, Unavailable
from assetstore.specify.records import COLLECTION_SCOPE, DISCIPLINE_SCOPE, Record, Records

#: The schemes of an address, which tell it from a file name.
SCHEMES = ("mysql://", "mariadb://")

#: The environment variable for the password, because other users of the machine can see the command line.
PASSWORD_VARIABLE = "SPECIFY_DATABASE_PASSWORD"  # noqa: S105 - a name, no password

_SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER = 20, 600

#: The longest password in a file, in characters.
_LONGEST_PASSWORD = 4096

_RECORDS = "SELECT AttachmentID, AttachmentLocation, OrigFilename, ScopeType, ScopeID FROM attachment"
_COLLECTIONS = "SELECT UserGroupScopeId, CollectionName, DisciplineID FROM collection"


@dataclass(frozen=True)
class Address:
    """The address of a database, as *options* of the driver; they are not shown, because they have the password."""

    options: Mapping[str, Any] = field(repr=False)


def address(text: str, environ: Mapping[str, str]) -> Address:
    """Parses `mysql://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?unix_socket=PATH][&ssl_ca=FILE]`.

    Raises BadRequest.
    """
    expected = "expected mysql://USER@HOST:PORT/DATABASE, or …/DATABASE?unix_socket=PATH"
    try:
        parts = urlsplit(text)
        port, database = parts.port or 3306, unquote(parts.path.removeprefix("/"))
        query = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    except ValueError:
        raise BadRequest(f"The address of the database is invalid; {expected}.") from None
    if not parts.username or not database or set(query) - {"unix_socket", "ssl_ca"}:
        raise BadRequest(f"The address of the database is invalid; {expected}.")
    password = unquote(parts.password) if parts.password is not None else environ.get(PASSWORD_VARIABLE, "")
    options: dict[str, Any] = {"user": unquote(parts.username), "password": password, "database": database, **query}
    if "unix_socket" not in query:
        options |= {"host": parts.hostname or "127.0.0.1", "port": port}
    return Address(options)


def configured(text: str, environ: Mapping[str, str], password_file: Path | None) -> Address:
    """Returns the address in the setting SPECIFY_DATABASE, with the password from the environment or from a file.

    Raises BadRequest: the address is invalid, or the file cannot be read.
    """
    password = environ.get(PREFIX + PASSWORD_VARIABLE) or environ.get(PASSWORD_VARIABLE)
    if not password and password_file is not None:
        try:
            with open(password_file, encoding="utf-8") as file:
                password = file.read(_LONGEST_PASSWORD).rstrip("\r\n")
        except (OSError, UnicodeError) as error:
            detail = f"{password_file}: {error}"
            raise BadRequest("The file with the password of the database cannot be read.", detail) from error
    return address(text, {PASSWORD_VARIABLE: password or ""})


def read(where: Address) -> Records:
    """Returns the current records of a database.

    Raises:
        Unavailable: the database cannot be reached, or rejects the login.
        BadRequest: it is not a Specify database.
    """
    with connected(where) as cursor:
        as_of_ns = time.time_ns()
        collections, disciplines = _scopes(cursor)
        cursor.execute(_RECORDS)
        records = []
        for identifier, location, original, scope_type, scope in cursor:
            names: tuple[str, ...] | None = None
            if scope_type == COLLECTION_SCOPE:
                names = collections.get(scope)
            elif scope_type == DISCIPLINE_SCOPE:
                names = disciplines.get(scope)
            records.append(Record(str(identifier), location or "", original or "", names))
    return Records(tuple(records), as_of_ns)


def _scopes(cursor: Any) -> tuple[dict[int, tuple[str, ...]], dict[int, tuple[str, ...]]]:
    """The names of the collections, by the ID of the collection and by that of the discipline."""
    collections: dict[int, tuple[str, ...]] = {}
    disciplines: defaultdict[int, tuple[str, ...]] = defaultdict(tuple)
    cursor.execute(_COLLECTIONS)
    for identifier, name, discipline in cursor:
        collections[identifier] = (name or "",)
        disciplines[discipline] += (name or "",)
    return collections, dict(disciplines)


@contextlib.contextmanager
def connected(
    where: Address, seconds_to_connect: int = _SECONDS_TO_CONNECT, seconds_to_answer: int = _SECONDS_TO_ANSWER
) -> Iterator[Any]:
    """Gives a cursor in a read-only transaction. Raises Unavailable, BadRequest."""
    try:
        import pymysql  # noqa: PLC0415 - only this command needs it
        import pymysql.cursors  # noqa: PLC0415
    except ImportError as error:
        reason = "Reading Specify's database requires the library PyMySQL, which is not installed."
        raise Unavailable(reason, str(error)) from error
    try:
        connection = pymysql.connect(
            **where.options,
            charset="utf8mb4",
            connect_timeout=seconds_to_connect,
            read_timeout=seconds_to_answer,
            cursorclass=pymysql.cursors.SSCursor,  # row by row: there may be millions
            local_infile=False,
        )
    except (pymysql.MySQLError, OSError, RuntimeError) as error:
        raise Unavailable("Specify's database cannot be reached.", _reason(error)) from error
    try:
        with connection.cursor() as cursor:
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            yield cursor
    except pymysql.MySQLError as error:
        raise BadRequest("Specify's tables could not be read from the database.", _reason(error)) from error
    finally:
        with contextlib.suppress(pymysql.MySQLError, OSError):
            connection.close()


def _reason(error: BaseException) -> str:
    return str(error.args[1]) if len(error.args) > 1 else str(error)
