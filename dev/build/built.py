"""Where dev/build/build.sh puts what runs on this machine."""

import platform

from dev.local.template import ROOT

ARCHITECTURE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
BUILD = ROOT / ".aws-sam" / ("build" if ARCHITECTURE == "arm64" else "x86_64/build")
