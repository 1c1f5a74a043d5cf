"""Holds the mappings of the tests' own files against the laws, in a process of its own: prints what is broken.

`python -m tests.mappings.hold` judges whatever `mappings` package stands first on the path, so a copy of it with a
fault put in on purpose can be judged as well.
"""

from __future__ import annotations

import itertools
import random
import sys

from tests.mappings.generated import canonical_values, drawn, mappings, records
from tests.mappings.laws import broken_law

DRAWN, PAIRS = 70, 500


def main() -> int:
    for name, (mapping, normal) in mappings(shipped_too=False).items():
        bodies = drawn(records(mapping.plan), DRAWN)
        values = drawn(canonical_values(mapping.plan, normal), DRAWN)
        pairs = list(itertools.product(range(len(bodies)), range(len(values))))
        for n, m in random.Random(7).sample(pairs, min(PAIRS, len(pairs))):
            try:
                broken = broken_law(mapping, normal, bodies[n], values[m])
            except Exception as error:
                broken = f"no case raises ({type(error).__name__}: {error})"
            if broken:
                print(f"{name}: {broken}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
