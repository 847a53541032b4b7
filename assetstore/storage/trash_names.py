"""The timestamps in the names of trash entries. They are readable, and the names sort by time."""

from datetime import UTC, datetime

_SECOND = 1_000_000_000
_STAMP = "%Y-%m-%dT%H.%M.%S"

#: Matches what `stamp` returns; two groups, for `timestamp_ns`.
STAMP_PATTERN = r"(\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d)\.(\d{9})"


def stamp(timestamp_ns: int) -> str:
    """Returns a timestamp (nanoseconds since 1970) as `2026-11-24T10.31.07.123456789`, in UTC."""
    second = datetime.fromtimestamp(timestamp_ns // _SECOND, UTC)
    return f"{second.strftime(_STAMP)}.{timestamp_ns % _SECOND:09}"


def timestamp_ns(second: str, fraction: str) -> int | None:
    """Returns the timestamp of a second and a fraction of a second; None if the date or time is invalid."""
    try:
        date = datetime.fromisoformat(second.replace(".", ":")).replace(tzinfo=UTC)  # much faster than strptime
    except ValueError:
        return None
    return int(date.timestamp()) * _SECOND + int(fraction)
