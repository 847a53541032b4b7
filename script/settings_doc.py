"""Generates docs/settings.md from settings.py and the table of settings: `.venv/bin/python -m script.settings_doc`.

Headings and comments of settings.py become sections and descriptions. Defaults and other names of environment
variables come from `assetstore.config.loading`.
"""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from assetstore.config.loading import SETTINGS

_PROJECT = Path(__file__).resolve().parent.parent
PAGE = _PROJECT / "docs/settings.md"

_HEAD = """# Settings

<!-- Generated from settings.py. Change the comments there, then: .venv/bin/python -m script.settings_doc -->

"""

# A comment with the assignments that it describes; texts that become links; and texts that may become code.
_SETTINGS = re.compile(r"((?:^#.*\n)+)((?:^[A-Z_]+ = (?:\{\n(?:^ .*\n)+\}|.*)\n)+)", re.M)
_LINK = re.compile(r"\b(?:docs/[a-z-]+\.md(?:#[a-z_-]+)?|deploy/[a-z.-]+\.conf)")
_CODE = re.compile(
    r'`[^`]*`|\["[^]]*\]|\{"[^}]*\}|[A-Z]+ = "[^"]*"|"[^" ]+"'
    r"|\b[A-Z]+(?:_[A-Z]+)+\b(?:/[\w./-]+\w)?|\b(?:[a-z_-]+/)*[a-z_-]+\.(?:py|yml|xml)\b"
    r"|\btcp://[\w.:]+|(?<!\w)/[a-z][\w./-]*[\w/]|(?<!\S)--[a-z]+|\w+"
)


def page() -> str:
    """Returns the text of docs/settings.md."""
    _, introduction, rest = (_PROJECT / "settings.py").read_text(encoding="utf-8").split('"""', 2)
    sections = re.split(r"^# --- (.+?) -+\n", rest, flags=re.M)[1:]
    titles, bodies = sections[::2], sections[1::2]
    parts = [_HEAD, _description(introduction.partition("\n\n")[2].strip()), "\n\n", _contents(titles), "\n"]
    for title, body in zip(titles, bodies, strict=True):
        parts += ["\n## ", title, "\n", *(_entry(*found.groups()) for found in _SETTINGS.finditer(body))]
    return "".join(parts)


def _contents(titles: Sequence[str]) -> str:
    # A line break inside a link would be legal, but hard to read: spaces in titles are hidden from the wrapping.
    links = (f"[{title}](#{title.lower().replace(' ', '-')})".replace(" ", "\0") for title in titles)
    return _wrapped(" · ".join(links)).replace("\0", " ")


def _entry(comment: str, assignments: str) -> str:
    names = re.findall(r"^([A-Z_]+) = ", assignments, re.M)
    defaults = list(dict.fromkeys(_default(name) for name in names))
    facts = f"Default: {' and '.join(defaults)}"
    others = [f"`{other}`" for name in names for other in SETTINGS[name].other_names]
    if others:
        facts += f" · Environment: also {', '.join(others)}"
    lines = re.sub(r"^# ?", "", comment, flags=re.M).rstrip()
    return f"\n### {', '.join(names)}\n\n{_wrapped(facts)}\n\n{_description(lines)}\n"


def _description(text: str) -> str:
    paragraphs = text.split("\n\n")
    return "\n\n".join(part if part.startswith("    ") else _wrapped(_prose(part)) for part in paragraphs)


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def _default(name: str) -> str:
    default = SETTINGS[name].default
    if isinstance(default, frozenset):
        return ", ".join(f"`{value}`" for value in sorted(default))
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


def _prose(text: str) -> str:
    """Converts a sentence of settings.py to Markdown: values and names of settings become code, files become links."""

    def link(found: re.Match[str]) -> str:
        return f"[{found[0]}]({f'../{found[0]}'.replace('../docs/', '')})"

    def code(found: re.Match[str]) -> str:
        word = found[0]
        is_code = not word.isalnum() or word in SETTINGS or word in ("None", "True", "False")
        return f"`{word}`" if is_code and not word.startswith("`") else word

    pieces = re.split(f"({_LINK.pattern})", text)
    return "".join(link(m) if (m := _LINK.fullmatch(piece)) else _CODE.sub(code, piece) for piece in pieces)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
