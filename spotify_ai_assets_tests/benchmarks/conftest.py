"""The benchmarks lie beside the package and are not installed: their folder is told to Python."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
