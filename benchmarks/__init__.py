"""Every number in the documents comes from a command here: python -m benchmarks.NAME, run in the repository's root."""

import sys
from pathlib import Path

# "python -m" puts the root first, where mata_cpp/ lies without its compiled part: an installed one goes before it.
_root = Path(__file__).resolve().parent.parent
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _root] + [str(_root)]
