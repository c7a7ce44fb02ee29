"""Does not even load."""

raise RuntimeError("this benchmark does not load")
