"""Access keys of object storage that stand in environment variables with a prefix, such as `HERPS_AWS_ACCESS_KEY_ID`.

Without a prefix, the library of the store reads the variables itself, as well as roles of machines and containers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

KEY_ID, SECRET, TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"


@dataclass(frozen=True)
class Credentials:
    """An access key. Fields: key ID, secret, and the token of a temporary key (None for a permanent one)."""

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(repr=False)


def credentials(environ: Mapping[str, str], prefix: str) -> Credentials | None:
    """Returns the access key in the variables with a prefix, such as `HERPS_`; None if it is not complete."""
    key_id, secret, token = (environ.get(prefix + name) or None for name in (KEY_ID, SECRET, TOKEN))
    return Credentials(key_id, secret, token) if key_id and secret else None
