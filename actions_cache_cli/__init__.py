"""The operator's commands (docs/operate/commands.md), deploying, the deployment check and the runners' doctor."""

import sys
from pathlib import Path

# Installed, the core's package stands beside this one; in a checkout it is the layer's.
_CORE = Path(__file__).parents[1] / "layers" / "core"
if _CORE.is_dir() and str(_CORE) not in sys.path:
    sys.path.append(str(_CORE))
