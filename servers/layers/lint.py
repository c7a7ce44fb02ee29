"""What is wrong with a config file before a game stumbles over it: Source reads its .cfg files as plain ASCII."""

CONSOLE_FILES = (".cfg",)


def problem(path: str, text: str) -> str:
    """A sentence with line and column, or nothing. Columns count from 1."""
    if not path.lower().endswith(CONSOLE_FILES):
        return ""
    for number, line in enumerate(text.split("\n"), start=1):
        for column, character in enumerate(line, start=1):
            if character != "\t" and not " " <= character <= "~":
                shown = f"“{character}”" if character.isprintable() else f"character {ord(character):04X}"
                return f"Line {number}, column {column}: {shown} is not plain ASCII, which is all that a .cfg may hold."
    return ""
