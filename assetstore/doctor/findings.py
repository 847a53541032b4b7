"""What a check has found."""

from dataclasses import dataclass

from assetstore.monitoring.health import ERROR, OK, WARNING


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Fields:
        check: what was looked at, a word or two.
        status: OK, WARNING or ERROR.
        found: the fact.
        meaning: what it means for people who work with Specify; empty if all is well.
        remedy: what to do; empty if nothing is to be done.
    """

    check: str
    status: str
    found: str
    meaning: str = ""
    remedy: str = ""


def ok(check: str, found: str) -> Finding:
    """Returns that all is well."""
    return Finding(check, OK, found)


def warning(check: str, found: str, meaning: str, remedy: str) -> Finding:
    """Returns that something should be looked at."""
    return Finding(check, WARNING, found, meaning, remedy)


def error(check: str, found: str, meaning: str, remedy: str) -> Finding:
    """Returns that something does not work."""
    return Finding(check, ERROR, found, meaning, remedy)
