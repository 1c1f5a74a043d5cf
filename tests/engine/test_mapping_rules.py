"""What mapping files say about whole firms, at work: authority, currencies, a firm's own transforms."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from mappings.load import Unreadable, load_text
from mappings.normalize import normalizer
from syncd.core.claims import LinkState, see
from syncd.core.gate import Decision
from syncd.core.plan import Nothing, Planned, References, Write, plan_write
from tests.engine.test_road import jane

if TYPE_CHECKING:
    from tests.engine.office import Office

AUTHORITY = """\
overrides: memory
records:
  - resource: people
    kind: person
    fields:
      title: {path: title, authority: yes}
"""


def test_the_authority_keeps_its_value_against_a_later_edit(office: Office) -> None:
    office.vendor("a")
    office.vendor("b", mapping=AUTHORITY)
    office.new("b", jane(title="Counsel"), id="j")
    office.settle()
    (a_id,) = office.held("a")
    office.edit("a", a_id, {"title": "Partner"})
    office.settle()
    assert [office.one(name)["title"] for name in "ab"] == ["Counsel", "Counsel"]


def test_two_authorities_for_a_field_stop_both_connections_and_name_the_line(office: Office) -> None:
    for name, mapping in (("a", AUTHORITY), ("b", None), ("c", None)):
        office.vendor(name, mapping=mapping)
    (office.home / "mappings" / "b.yaml").write_text(AUTHORITY)
    world = office.app.world()
    assert set(world.members) == {"c"}
    assert set(world.broken) == {"a", "b"}
    assert "b.yaml:6: person.title: two authorities: b here and a at a.yaml:6" in world.broken["a"]


AMOUNTS = """\
connector: acme
records:
  - resource: deals
    kind: opportunity
    creates: yes
    fields:
      name: name
      amount: {path: sum, currency: unit}
      currency: {path: unit, direction: in}
"""


def test_an_amount_in_another_currency_is_refused_although_the_currency_is_only_read_there() -> None:
    (lens,) = load_text(AMOUNTS, "acme.yaml").mappings
    same, everything = partial(normalizer().same, "opportunity"), Decision("allow", frozenset(lens.lines))
    body = {"name": "Merger", "sum": 10, "unit": "USD"}
    state = LinkState()
    see(state, lens.get(body), "2026-11-20T10:00:00.000000Z", same, new_fields=lens.lines)

    def plan(amount: str, currency: str) -> Planned:
        golden = {"name": "Merger", "amount": amount, "currency": currency}
        return plan_write(golden, frozenset(), state, body, lens, References(), everything, same)

    written = plan("20", "USD")
    assert isinstance(written, Write)
    assert written.payload == {"sum": 20}
    assert plan("10", "EUR") == Nothing()
    with pytest.raises(Unreadable, match="another currency"):
        plan("20", "EUR")


def test_a_firms_own_transform_works_in_its_mapping(office: Office) -> None:
    (office.home / "transforms.py").write_text(
        "from mappings.transforms import Transform\n"
        "quoted = Transform('quoted', ('text',), 'Text in quotes.', lambda v: v.strip('\"'), lambda v: f'\"{v}\"',\n"
        "                   examples=(('\"a\"', 'a'), ('\"b\"', 'b')))\n"
    )
    (office.home / "transforms.py").chmod(0o600)
    office.vendor("a")
    office.vendor("b", mapping=AUTHORITY.replace("authority: yes", "transform: quoted"))
    office.new("a", jane(title="Counsel"))
    office.settle()
    assert office.one("b")["title"] == '"Counsel"'
    office.edit("b", next(iter(office.held("b"))), {"title": '"Partner"'})
    office.settle()
    assert office.one("a")["title"] == "Partner"
