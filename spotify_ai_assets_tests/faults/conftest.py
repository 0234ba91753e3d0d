"""What fault tests share: the tools of the tests of resources, which lie beside this folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "resources"))
