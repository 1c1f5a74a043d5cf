"""One process of the demo: `python -m syncd.demo clio --port 9101 ...` is a system, `... join HOME` connects them."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    if sys.argv[1] == "join":
        from syncd.demo.joining import join

        sys.exit(join(Path(sys.argv[2])))
    from connectors.sandbox import main
    from syncd.demo.sandboxes import FACTORIES

    main(FACTORIES[sys.argv[1]], sys.argv[2:])
