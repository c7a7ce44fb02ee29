"""Entry of the keeper: makes this folder importable as the package `keeper` and runs it."""

import sys
from importlib import import_module
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
import_module("keeper.script" if sys.argv[1] == "script" else "keeper.main").main()
