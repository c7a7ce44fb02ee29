"""How bytes on disk are counted and told. Needs no settings: the program that unpacks archives uses it too."""

HIDDEN = 1 << 40  # bytes that what is deeper, or in more folders, than can be walked counts as
PER_FILE = 4096  # bytes that a file or folder counts at least: that many empty ones fill a disk as well


def in_words(size: int) -> str:
    """A number of bytes in a sentence."""
    return f"{size / 2**30:.1f} GB" if size >= 1 << 30 else f"{size / 2**20:.1f} MB"
