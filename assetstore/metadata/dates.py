"""Dates in the formats that cameras use."""

import datetime
import re

#: `2009:05:30 12:34:56`. Some programs use other separators, omit the time, or leave unknown parts blank.
_DATE_TIME = re.compile(
    r"(\d{4})[:/.-](\d\d?)[:/.-](\d\d?)(?:[ T] *(\d\d?)?(?: *[:.] *(\d\d?)?(?: *[:.] *(\d\d?)?.*)?)?)?", re.ASCII
)

_LONGEST = 64


def date_time(text: str) -> str | None:
    """Returns a date and time as it was written, without surrounding blanks; None if it is not a date.

    Cameras whose clock was never set write blanks, zeros or impossible dates.
    """
    text = text.strip("\0 ")
    match = _DATE_TIME.fullmatch(text[: _LONGEST + 1])
    if match is None or len(text) > _LONGEST:
        return None
    year, month, day, *time = (int(part or 0) for part in match.groups())
    try:
        datetime.date(year, month, day)
    except ValueError:
        return None
    hour, minute, second = time
    return text if hour <= 24 and minute < 60 and second <= 60 else None
