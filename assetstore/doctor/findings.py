"""The results of checks."""

from dataclasses import dataclass

from assetstore.monitoring.health import ERROR, OK, WARNING


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Fields:
        check: what was checked, a word or two.
        status: OK, WARNING or ERROR.
        found: the fact.
        meaning: the effect on users of Specify; empty if the status is OK.
        remedy: what to do; empty if the status is OK.
    """

    check: str
    status: str
    found: str
    meaning: str = ""
    remedy: str = ""


def ok(check: str, found: str) -> Finding:
    """Returns a finding that a check has passed."""
    return Finding(check, OK, found)


def warning(check: str, found: str, meaning: str, remedy: str) -> Finding:
    """Returns a finding that needs attention."""
    return Finding(check, WARNING, found, meaning, remedy)


def error(check: str, found: str, meaning: str, remedy: str) -> Finding:
    """Returns a finding that something does not work."""
    return Finding(check, ERROR, found, meaning, remedy)
