"""What is wrong with a key, for the log at the start and for `doctor`."""

from collections.abc import Sequence
from dataclasses import dataclass

#: Keys from public examples.
EXAMPLE_KEYS = frozenset(
    ("test_attachment_key", "your_asset_server_access_key", "attachment_key", "asset_server_key", "secret", "changeme")
)

#: A key with fewer characters, or fewer different ones, can be found by brute force from one captured token.
_SHORTEST_KEY, _FEWEST_CHARACTERS = 16, 6

_QUOTES = "\"'“”‘’„`"


@dataclass(frozen=True)
class KeyProblem:
    """A problem of a key: sentences without the key itself.

    Fields:
        is_open: whether anyone knows the key.
        found: the fact.
        meaning: its effect on users.
        remedy: what to do.
    """

    is_open: bool
    found: str
    meaning: str
    remedy: str


def problems(keys: Sequence[str]) -> list[KeyProblem | None]:
    """Returns the problem of each key, None if it has none."""
    return [_problem(key) for key in keys]


def _problem(key: str) -> KeyProblem | None:
    remedy = "Set KEY to a long random text (openssl rand -hex 24), and set the same key in Specify."
    if key.strip().strip(_QUOTES) in EXAMPLE_KEYS:
        meaning = "Anyone can upload and delete attachments, because this key is published in manuals."
        return KeyProblem(True, "The key is a well-known example.", meaning, remedy)
    end = _foreign_end(key)
    if end:
        return KeyProblem(
            False,
            f"The key begins or ends with {end}.",
            "The key in Specify probably does not, and then all uploads are rejected.",
            "Remove the character from KEY or ATTACHMENT_KEY.",
        )
    if len(key) < _SHORTEST_KEY or len(set(key)) < _FEWEST_CHARACTERS:
        meaning = "Anyone who captures one upload can find this key by brute force, and then delete attachments."
        return KeyProblem(False, f"The key is weak: it has {len(key)} characters.", meaning, remedy)
    return None


def _foreign_end(key: str) -> str:
    """What is probably not part of the key at one of its ends; empty if there is nothing."""
    ends = key[:1] + key[-1:]
    if "\r" in ends or "\n" in ends:
        return "a line break, as files of Windows have"
    if ends != ends.strip() or any(not end.isprintable() for end in ends):
        return "a blank"
    return "a quotation mark" if set(ends) & set(_QUOTES) else ""
