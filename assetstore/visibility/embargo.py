"""Embargoes: from which day, and until which day, a file is not public. All days are UTC, and begin at 00:00.

A day is the number of days since 1970-01-01. The functions are pure.
"""

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass

#: Values of the columns `…Precision` in Specify: how exactly a date is known. Any other value means the day.
_MONTH, _YEAR = 2, 3

#: A day later than any embargo, for one without end: it is never reached.
NEVER = 10_000_000

_EPOCH = datetime.date(1970, 1, 1).toordinal()
_ISO = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?", re.ASCII)


@dataclass(frozen=True, order=True)
class Embargo:
    """A file is not public from the day *start* until the day before *end*."""

    start: int
    end: int

    def covers(self, day: int) -> bool:
        """Says whether the file is under embargo on a day."""
        return self.start <= day < self.end


def today(seconds: float) -> int:
    """Returns the day of a time in seconds since 1970."""
    return int(seconds // 86_400)


def of_specify(start: object, start_precision: object, release: object, release_precision: object) -> Embargo | None:
    """Returns the embargo of a collection object, by its columns; None if it has none.

    A release date known to the month or year means its end. An embargo without a release date has no end.
    """
    first, last = _date(start), _date(release)
    if first is None and last is None:
        return None
    begin = 0 if first is None else number(_floor(first, start_precision))
    return Embargo(begin, NEVER if last is None else _after(last, release_precision))


def until(text: str) -> Embargo | None:
    """Returns the embargo that ends on an ISO date: `2027-03-01`, `2027-03` or `2027`; None if the text is empty.

    The file is public from that day on, or after that month or year. Raises ValueError.
    """
    if not text:
        return None
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a date such as 2027-03-01")
    year, month, day = match.groups()
    precision = _YEAR if month is None else _MONTH if day is None else 1
    return Embargo(0, _after(datetime.date(int(year), int(month or 1), int(day or 1)), precision))


def is_under(embargoes: Iterable[Embargo], day: int) -> bool:
    """Says whether one of the embargoes covers a day."""
    return any(embargo.covers(day) for embargo in embargoes)


def next_change(embargoes: Iterable[Embargo], day: int) -> int | None:
    """Returns the first later day on which `is_under` has another result than on this day; None if there is none."""
    known = list(embargoes)
    now = is_under(known, day)
    later = sorted({limit for embargo in known for limit in (embargo.start, embargo.end) if day < limit < NEVER})
    return next((limit for limit in later if is_under(known, limit) != now), None)


def encoded(embargoes: Iterable[Embargo]) -> str | None:
    """Returns embargoes as a text for the index; None if there are none."""
    return ";".join(f"{embargo.start},{embargo.end}" for embargo in sorted(set(embargoes))) or None


def decoded(text: str | None) -> list[Embargo]:
    """Returns the embargoes of a text that `encoded` returned."""
    pairs = (part.split(",") for part in (text or "").split(";") if part)
    return [Embargo(int(start), int(end)) for start, end in pairs]


def spelled(day: int | None) -> str | None:
    """Returns a day as an ISO date, for people; None if there is none, or it is never reached."""
    if day is None or day >= NEVER:
        return None
    return datetime.date.fromordinal(day + _EPOCH).isoformat()


def number(date: datetime.date) -> int:
    """Returns the number of a day."""
    return date.toordinal() - _EPOCH


def _date(value: object) -> datetime.date | None:
    """The date in a column; MySQL's zero date, which PyMySQL passes on as text, means none."""
    if isinstance(value, datetime.datetime):
        return value.date()
    return value if isinstance(value, datetime.date) else None


def _floor(date: datetime.date, precision: object) -> datetime.date:
    if precision == _YEAR:
        return date.replace(month=1, day=1)
    return date.replace(day=1) if precision == _MONTH else date


def _after(date: datetime.date, precision: object) -> int:
    """The first day on which an embargo with this release date has ended."""
    if precision not in (_MONTH, _YEAR):
        return number(date)
    months = 12 if precision == _YEAR else 1
    following = _floor(date, precision).year * 12 + _floor(date, precision).month - 1 + months
    if following // 12 > datetime.MAXYEAR:
        return NEVER
    return number(datetime.date(following // 12, following % 12 + 1, 1))
