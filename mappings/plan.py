"""What a checked mapping file says, as values: paths, lines, record mappings.

language.py makes these from the text; reading.py and writing.py make functions from them; losses.py and flows.py
judge them. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mappings.canonical import Field, Kind
    from mappings.transforms import Transform

Direction = Literal["both", "in", "out"]
Strength = Literal["enforce", "fill", "create"]

FIRST = ("", "")
"""A list whose first element is the primary one."""


class MappingError(Exception):
    """A mapping file is wrong. `errors` holds one "file:line: ..." text per fault, in file order."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(self.errors))


@dataclass(frozen=True, slots=True)
class Index:
    """One position of a vendor's list: [0]."""

    n: int


@dataclass(frozen=True, slots=True)
class Pick:
    """The first entry of a vendor's list in which `path` holds `value`: [custom_field.id=4711].

    absent_is_empty  False: where there is no such entry nothing is stated, for the thing itself may be gone
    """

    path: tuple[str, ...]
    value: str | int
    absent_is_empty: bool = True


@dataclass(frozen=True, slots=True)
class Stray:
    """The first entry of a vendor's list that carries a custom field's name, but not the id that the name is pinned to.

    Where there is one, the name has come to mean another field, and the line must not touch the record.
    """

    name_path: tuple[str, ...]
    name: str
    id_path: tuple[str, ...]
    id: str | int


Step = str | Index | Pick | Stray
Path = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """A vendor property that must hold one of these values; None also stands for a missing property."""

    path: Path
    allowed: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """What every line states.

    authority  this system is the authority for the field
    unless     the line says nothing about records in which one of these vendor properties is true
    when       the line speaks only of records in which all of these hold
    clearable  False: the vendor takes no empty value here, so an empty one is not written
    loses      declared losses, of `LOSSES`
    """

    field: Field
    direction: Direction
    strength: Strength
    authority: bool
    unless: tuple[Path, ...]
    when: tuple[Condition, ...]
    clearable: bool
    loses: frozenset[str]
    where: str


@dataclass(frozen=True, slots=True)
class Table:
    """canonical value -> vendor values (the first is written). fallback: canonical value for vendor values that are
    not listed; has_fallback False: such a value makes the record unreadable; fallback None: no statement."""

    entries: Mapping[str, tuple[Any, ...]]
    fallback: str | None = None
    has_fallback: bool = False


@dataclass(frozen=True, slots=True)
class ValueLine:
    """One value at one path.

    form      how the vendor keeps it, where that is not how we do
    currency  of an amount: where the vendor keeps its currency, or the one code that it always is
    """

    head: Head
    path: Path
    cut: int | None = None
    empty: str | None = None
    table: Table | None = None
    form: Literal["text", "number", "date", "instant"] | None = None
    scale: int | None = None
    decimals: int | None = None
    negate: bool = False
    transform: Transform | None = None
    currency: Path | str | None = None


@dataclass(frozen=True, slots=True)
class ConstantLine:
    """A value that every record under the mapping has, wherever the vendor does not say it."""

    head: Head
    value: Any


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """Another record of the same connector, by its vendor id. wrap: the id stands in an object under this name."""

    head: Head
    path: Path
    resource: str
    id_form: Literal["text", "number"]
    wrap: str | None


@dataclass(frozen=True, slots=True)
class KeyLine:
    """Another canonical record, by one of its own fields."""

    head: Head
    path: Path
    kind: str
    key: str
    cut: int | None


@dataclass(frozen=True, slots=True)
class PartLine:
    """One part of a name that the vendor keeps whole in one field."""

    head: Head
    path: Path
    form: str


@dataclass(frozen=True, slots=True)
class PrimaryLine:
    """The primary element of a list that another line maps."""

    head: Head
    of: str


@dataclass(frozen=True, slots=True)
class Label:
    """Where an element's label stands. among: the property holds a list of words, one of which is the label.
    fallback: the vendor's word for labels without an entry; None: such a label is not written."""

    key: str
    among: bool
    entries: Mapping[str, tuple[str, ...]]
    fallback: str | None


@dataclass(frozen=True, slots=True)
class ListLine:
    """A set kept as the vendor's list of elements.

    value or parts  where an element's value stands; value () is the element itself
    primary         (read name, write name) of the flag; FIRST: the first element is the primary one
    only            entries with these properties, the rest of the list is not ours
    country_codes   countries of addresses are written as ISO 3166 codes
    """

    head: Head
    path: Path
    value: tuple[str, ...] | None
    parts: Mapping[str, str]
    label: Label | None
    primary: tuple[str, str] | None
    only: Mapping[str, tuple[Any, ...]]
    country_codes: bool


@dataclass(frozen=True, slots=True)
class Slot:
    """One fixed place for one element of a set. label None: takes any element."""

    label: str | None
    path: Path | None
    parts: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class SlotsLine:
    """A set kept in a few fixed vendor fields. others: the label of the slot that takes other labels too."""

    head: Head
    slots: tuple[Slot, ...]
    others: str | None


LinePlan = ValueLine | ConstantLine | ReferenceLine | KeyLine | PartLine | PrimaryLine | ListLine | SlotsLine


@dataclass(frozen=True, slots=True)
class Derived:
    """A vendor property that we only write, joined from canonical fields."""

    path: Path
    join: tuple[str, ...]
    otherwise: str | None
    only_on_create: bool


@dataclass(frozen=True, slots=True)
class Fact:
    """What a vendor's field can hold.

    length    greatest number of characters of a text; None: not known
    decimals  digits after the point of a decimal; None: not known
    """

    type: Literal["text", "date", "instant", "decimal", "int", "bool", "choice"]
    length: int | None = None
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """A custom field is no longer what its line was pinned to.

    field   the canonical field whose line it is
    stops   the line reads and writes nothing; False: it goes on (the field was only renamed)
    """

    where: str
    resource: str
    kind: str
    field: str
    stops: bool
    what: str
    remedy: str

    def __str__(self) -> str:
        effect = "it is neither read nor written" if self.stops else "it goes on by its id"
        return f"{self.where}: {self.kind}.{self.field}: {self.what}; {effect}. {self.remedy}"


@dataclass(frozen=True, slots=True)
class Custom:
    """A custom field that a line maps: its name for people and the id that it is pinned to.

    is_known  the account was seen to have it, so a record without a value of it has an empty one
    """

    field: str
    name: str
    id: str
    is_known: bool
    where: str


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """One record mapping, checked.

    facts   what is declared of vendor fields, by path
    drift   lines of custom fields that were stopped, or renamed
    source  everything that decides its behaviour, for the fingerprint
    """

    connector: str
    resource: str
    kind: Kind
    creates: bool
    modified: Path | None
    when: tuple[Condition, ...]
    on_create: tuple[tuple[Path, Any], ...]
    derived: tuple[Derived, ...]
    lines: tuple[LinePlan, ...]
    source: str
    where: str
    facts: Mapping[Path, Fact] = field(default_factory=dict)
    customs: tuple[Custom, ...] = ()
    drift: tuple[Drift, ...] = ()


@dataclass(frozen=True, slots=True)
class FilePlan:
    """One connector's file, checked."""

    connector: str
    records: tuple[RecordPlan, ...]


def path_text(path: Path) -> str:
    """The path as a mapping file writes it."""
    text = ""
    for step in path:
        if isinstance(step, str):
            text += f".{step}" if text else step
        elif isinstance(step, Index):
            text += f"[{step.n}]"
        elif isinstance(step, Stray):
            text += f"[{'.'.join(step.name_path)}={step.name}]"
        elif step.path:
            text += f"[{'.'.join(step.path)}={step.value}]"
    return text


def paths_of(line: LinePlan) -> tuple[Path, ...]:
    """Where a line's values stand; () where another line or nothing holds them."""
    match line:
        case SlotsLine():
            return tuple(p for slot in line.slots for p in ((slot.path,) if slot.path else slot.parts.values()))
        case PrimaryLine() | ConstantLine():
            return ()
        case _:
            return (line.path,)
