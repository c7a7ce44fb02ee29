"""What is wrong with a config file before a game stumbles over it: Source reads its .cfg files as plain ASCII.

The editor in the browser says the same while somebody types (`js/editor/languages.js`).
"""

from collections.abc import Iterator

CONSOLE_FILES = (".cfg",)
DELETE, PRINTABLE_AGAIN = 0x7F, 0xA0  # between them, and below the blank, are the control characters


def problem(path: str, text: str) -> str:
    """A sentence with line and column, or nothing. Columns count from 1."""
    return next(problems(text), "") if path.lower().endswith(CONSOLE_FILES) else ""


def problems(text: str, *, ascii_only: bool = True) -> Iterator[str]:
    """A sentence for each character that does not belong into a text file, or is not ASCII where only that may be."""
    what = "plain ASCII, which is all that a .cfg may hold" if ascii_only else "text"
    for number, line in enumerate(text.split("\n"), start=1):
        for column, character in enumerate(line, start=1):
            if character != "\t" and _is_strange(character, ascii_only=ascii_only):
                shown = f"“{character}”" if character.isprintable() else f"character {ord(character):04X}"
                yield f"Line {number}, column {column}: {shown} is not {what}."


def _is_strange(character: str, *, ascii_only: bool) -> bool:
    if ascii_only:
        return not " " <= character <= "~"
    code = ord(character)
    return code < ord(" ") or DELETE <= code < PRINTABLE_AGAIN or "\ud800" <= character <= "\udfff"
