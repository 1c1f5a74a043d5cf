"""`python -m syncd.demo clio --port 9101 ...` runs one of the demo's systems; `connect HOME` joins them."""

from __future__ import annotations

import sys
from pathlib import Path

from connectors.sandbox import main
from syncd.demo.systems import FACTORIES, join_firm

if __name__ == "__main__":
    if sys.argv[1] == "connect":
        join_firm(Path(sys.argv[2]))
    else:
        main(FACTORIES[sys.argv[1]], sys.argv[2:])
