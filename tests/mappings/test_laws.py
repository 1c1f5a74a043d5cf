"""The laws of every shipped mapping, over generated vendor records and generated values to write.

The fast test lets Hypothesis look for a case that breaks a law and make it small. The slow one takes many cases: it
draws a few hundred records and a few hundred sets of values per mapping and holds pairs of them against the laws.
SYNCD_LAW_EXAMPLES sets how many per mapping: 20,000 take six minutes for all of them, twelve on a busy machine.
"""

from __future__ import annotations

import itertools
import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mappings.generated import canonical_values, drawn, mappings, records
from tests.mappings.laws import broken_law

ALL = mappings()
CASES = int(os.environ.get("SYNCD_LAW_EXAMPLES", "2000"))


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_mapping_keeps_its_laws(name: str, data: st.DataObject) -> None:
    mapping, normal = ALL[name]
    body, values = data.draw(records(mapping.plan)), data.draw(canonical_values(mapping.plan, normal))
    assert broken_law(mapping, normal, body, values) == ""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ALL)
def test_every_mapping_keeps_its_laws_over_many_cases(name: str) -> None:
    mapping, normal = ALL[name]
    some = max(100, int(CASES**0.5) * 2)
    bodies, values = drawn(records(mapping.plan), some), drawn(canonical_values(mapping.plan, normal), some)
    pairs = list(itertools.product(range(len(bodies)), range(len(values))))
    for n, m in random.Random(7).sample(pairs, min(CASES, len(pairs))):
        broken = broken_law(mapping, normal, bodies[n], values[m])
        assert broken == "", (broken, bodies[n], values[m])
