"""Developers' tools: the local run, the demo, benchmarks, and the scripts that build and check."""

import sys
from pathlib import Path

# In Lambda the layer brings the core's packages into the path; here nothing else does.
_CORE = str(Path(__file__).parents[1] / "layers" / "core")
if _CORE not in sys.path:
    sys.path.append(_CORE)
