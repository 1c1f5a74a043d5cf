"""A small SOQL evaluator for the sandbox: text in, a query that can judge and sort rows out.

It knows what a sync engine asks: SELECT of fields and of parent fields (Account.Name), COUNT(), WHERE with
= != <> < <= > >= LIKE IN, NOT IN, AND, OR, NOT and parentheses, ORDER BY of several fields, LIMIT and OFFSET.
Sub-selects, GROUP BY, date functions and TYPEOF are refused as MALFORMED_QUERY. Text is compared without regard
to case and ids with it, as the vendor's SOQL reference says; stored rows hold datetimes as the vendor
writes them (`2021-12-02T18:25:25.000+0000`), so that text order is time order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, NoReturn

from connectors.salesforce import id18

Row = Mapping[str, Any]
Reader = Callable[[Row], Any]
Predicate = Callable[[Row], bool]

NUMBERS = {"int", "double", "currency", "percent"}

TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:\\.|[^'\\])*')
    | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
    | (?P<date>\d{4}-\d\d-\d\d)(?![\dT])
    | (?P<number>[+-]?\d+(?:\.\d+)?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
    | (?P<sign><=|>=|!=|<>|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}


class SoqlError(Exception):
    """A query that the vendor would refuse: its code and its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Column:
    """A field as a query sees it: its spelling as described, its type, and how to read it from a row.

    parent reads the row that a parent field (Account.Name) belongs to; None for a field of the row itself.
    """

    name: str
    type: str
    read: Reader
    parent: Callable[[Row], Row | None] | None = None


# (object, path as written) -> column; raises SoqlError for a name the user cannot see.
Resolve = Callable[[str, str], Column]


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed and checked query.

    columns   what SELECT names; empty for COUNT()
    index     "stamp" for ORDER BY SystemModstamp, Id (both ascending), "id" for ORDER BY Id: rows that come in that
              order need no sorting; "" for any other order
    after     rows whose SystemModstamp (whose id, for the index "id") is smaller cannot match
    """

    sobject: str
    columns: tuple[Column, ...]
    is_count: bool
    matches: Predicate
    order: tuple[tuple[Column, bool, bool], ...]
    limit: int | None
    offset: int
    index: Literal["stamp", "id", ""]
    after: str

    def run(self, rows: Iterable[Row]) -> list[Row]:
        """The matching rows, ordered and cut. `rows` come in the order of the index."""
        if self.index or not self.order:
            enough = None if self.limit is None else self.offset + self.limit
            found: list[Row] = []
            for row in rows:
                if enough is not None and len(found) >= enough:
                    break
                if self.matches(row):
                    found.append(row)
        else:
            found = [row for row in rows if self.matches(row)]
            for column, is_descending, nulls_last in reversed(self.order):
                found.sort(key=_sort_key(column, is_descending, nulls_last), reverse=is_descending)
        return found[self.offset : None if self.limit is None else self.offset + self.limit]


def instant(text: str) -> str:
    """A datetime literal of SOQL or JSON, as the vendor writes it back: whole seconds, UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a datetime needs a zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def parse(text: str, resolve: Resolve) -> Query:
    """Raises SoqlError (MALFORMED_QUERY, INVALID_FIELD, INVALID_TYPE) as the vendor does."""
    return _Parser(text, resolve).query()


class _Parser:
    """Recursive descent over the tokens; `where` clauses become predicates as they are read."""

    def __init__(self, text: str, resolve: Resolve) -> None:
        self.text = text
        self.resolve = resolve
        self.tokens = self._scan(text)
        self.at = 0
        self.sobject = ""

    def _scan(self, text: str) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            found = TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise SoqlError("MALFORMED_QUERY", f"unexpected token: '{text[at:].strip()[:20]}'")
            tokens.append((found.lastgroup, found.group(found.lastgroup)))
            at = found.end()
        return tokens

    # -- tokens

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "<EOF>")

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        return token

    def word(self, *words: str) -> bool:
        """Take the next tokens if they are these words."""
        ahead = self.tokens[self.at : self.at + len(words)]
        if [(kind, value.upper()) for kind, value in ahead] != [("name", w) for w in words]:
            return False
        self.at += len(words)
        return True

    def sign(self, sign: str) -> bool:
        if self.peek() != ("sign", sign):
            return False
        self.at += 1
        return True

    def need(self, *, sign: str = "", word: str = "") -> None:
        if not (self.sign(sign) if sign else self.word(word)):
            self.unexpected()

    def unexpected(self) -> NoReturn:
        raise SoqlError("MALFORMED_QUERY", f"unexpected token: '{self.peek()[1]}'")

    def name(self) -> str:
        kind, value = self.take()
        if kind != "name":
            self.at -= 1
            self.unexpected()
        return value

    # -- grammar

    def query(self) -> Query:
        self.need(word="SELECT")
        is_count = self.word("COUNT")
        names: list[str] = []
        if is_count:
            self.need(sign="(")
            self.need(sign=")")
        else:
            names.append(self.name())
            while self.sign(","):
                names.append(self.name())
        self.need(word="FROM")
        self.sobject = self.name()
        columns = tuple(self.resolve(self.sobject, name) for name in names)
        conjuncts: list[tuple[str, str]] = []
        matches: Predicate = self.condition(conjuncts) if self.word("WHERE") else lambda row: True
        order = self.ordering() if self.word("ORDER", "BY") else ()
        limit = self.whole_number() if self.word("LIMIT") else None
        offset = self.whole_number() if self.word("OFFSET") else 0
        if self.peek()[0] != "end":
            self.unexpected()
        sorting = tuple((column.name, is_descending) for column, is_descending, _ in order)
        index: Literal["stamp", "id", ""] = INDEXES.get(sorting, "")
        bounded = "Id" if index == "id" else "SystemModstamp"
        after = max((value for name, value in conjuncts if name == bounded), default="")
        return Query(self.sobject, columns, is_count, matches, order, limit, offset, index, after)

    def whole_number(self) -> int:
        kind, value = self.take()
        if kind != "number" or not value.isdigit():
            self.at -= 1
            self.unexpected()
        return int(value)

    def ordering(self) -> tuple[tuple[Column, bool, bool], ...]:
        terms = []
        while True:
            column = self.resolve(self.sobject, self.name())
            is_descending = self.word("DESC")
            if not is_descending:
                self.word("ASC")
            nulls_last = not self.word("NULLS", "FIRST") and self.word("NULLS", "LAST")
            terms.append((column, is_descending, nulls_last))
            if not self.sign(","):
                return tuple(terms)

    def condition(self, conjuncts: list[tuple[str, str]]) -> Predicate:
        """One level of AND or of OR: SOQL refuses a mix without parentheses.

        `conjuncts` collects lower bounds of SystemModstamp and Id that every matching row must meet.
        """
        lower: list[tuple[str, str]] = []
        terms = [self.term(lower)]
        joined = ""
        while True:
            if self.word("AND"):
                now = "AND"
            elif self.word("OR"):
                now = "OR"
            else:
                break
            if joined and joined != now:
                self.at -= 1
                self.unexpected()
            joined = now
            terms.append(self.term(lower))
        if joined != "OR":
            conjuncts.extend(lower)
        if len(terms) == 1:
            return terms[0]
        if joined == "AND":
            return lambda row: all(term(row) for term in terms)
        return lambda row: any(term(row) for term in terms)

    def term(self, lower: list[tuple[str, str]]) -> Predicate:
        if self.word("NOT"):
            inner = self.term([])
            return lambda row: not inner(row)
        if self.sign("("):
            inner = self.condition(lower)
            self.need(sign=")")
            return inner
        return self.comparison(lower)

    def comparison(self, lower: list[tuple[str, str]]) -> Predicate:
        column = self.resolve(self.sobject, self.name())
        read = column.read
        if self.word("NOT", "IN"):
            wanted = set(self.values(column))
            return lambda row: _folded(column, read(row)) not in wanted
        if self.word("IN"):
            wanted = set(self.values(column))
            return lambda row: _folded(column, read(row)) in wanted
        if self.word("LIKE"):
            pattern = self.like(column)
            return lambda row: (value := read(row)) is not None and pattern.fullmatch(str(value)) is not None
        kind, sign = self.take()
        if kind != "sign" or sign not in OPERATORS:
            self.at -= 1
            self.unexpected()
        value = self.value(column)
        if column.name in {"SystemModstamp", "Id"} and value is not None and sign in {">", ">=", "="}:
            lower.append((column.name, value))
        if sign == "=":
            return lambda row: bool(_folded(column, read(row)) == value)
        if sign in {"!=", "<>"}:
            return lambda row: bool(_folded(column, read(row)) != value)
        if value is None:
            raise SoqlError("MALFORMED_QUERY", f"unexpected token: 'null' after '{sign}'")
        compare = OPERATORS[sign]
        return lambda row: (held := _folded(column, read(row))) is not None and compare(held, value)

    def like(self, column: Column) -> re.Pattern[str]:
        kind, token = self.take()
        if kind != "string" or column.type in NUMBERS | {"boolean", "date", "datetime", "id", "reference"}:
            raise SoqlError("INVALID_FIELD", f"invalid operator on {column.type} field: {column.name}")
        pattern, chars = "", iter(token[1:-1])
        for char in chars:
            if char == "\\":
                escaped = next(chars)
                pattern += re.escape(escaped if escaped in "%_" else ESCAPES.get(escaped, escaped))
            else:
                pattern += {"%": ".*", "_": "."}.get(char, re.escape(char))
        return re.compile(pattern, re.IGNORECASE | re.DOTALL)

    def values(self, column: Column) -> list[Any]:
        self.need(sign="(")
        values = [self.value(column)]
        while self.sign(","):
            values.append(self.value(column))
        self.need(sign=")")
        return values

    def value(self, column: Column) -> Any:
        """A literal, checked against the column's type and brought to the form in which rows are compared."""
        kind, token = self.take()
        if kind == "name" and token.lower() == "null":
            return None
        if kind == "name" and token.lower() in {"true", "false"} and column.type == "boolean":
            return token.lower() == "true"
        if kind == "number" and column.type in NUMBERS:
            return float(token)
        if kind == "datetime" and column.type == "datetime":
            return instant(token)
        if kind == "date" and column.type == "date":
            return _day(token)
        if kind == "string" and column.type not in NUMBERS | {"boolean", "date", "datetime"}:
            return _folded(column, _unquoted(token))
        if kind in {"end", "sign", "name"}:
            self.at -= 1
            self.unexpected()
        enclosed = "" if column.type in {"string", "email", "phone", "id", "reference"} else " not"
        wanted = {"datetime": "dateTime"}.get(column.type, column.type)
        raise SoqlError(
            "INVALID_FIELD",
            f"value of filter criterion for field '{column.name}' must be of type {wanted} "
            f"and should{enclosed} be enclosed in quotes",
        )


INDEXES: dict[tuple[tuple[str, bool], ...], Literal["stamp", "id"]] = {
    (("SystemModstamp", False), ("Id", False)): "stamp",
    (("SystemModstamp", False),): "stamp",
    (("Id", False),): "id",
}
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda held, value: bool(held == value),
    "!=": lambda held, value: bool(held != value),
    "<>": lambda held, value: bool(held != value),
    "<": lambda held, value: bool(held < value),
    "<=": lambda held, value: bool(held <= value),
    ">": lambda held, value: bool(held > value),
    ">=": lambda held, value: bool(held >= value),
}


def _day(token: str) -> str:
    try:
        return date.fromisoformat(token).isoformat()
    except ValueError:
        raise SoqlError("MALFORMED_QUERY", f"invalid date: {token}") from None


def _unquoted(token: str) -> str:
    out: list[str] = []
    chars = iter(token[1:-1])
    for char in chars:
        if char != "\\":
            out.append(char)
            continue
        escaped = next(chars)
        if escaped not in ESCAPES:
            raise SoqlError("MALFORMED_QUERY", f"Illegal string literal: Invalid string escape sequence '\\{escaped}'")
        out.append(ESCAPES[escaped])
    return "".join(out)


def _folded(column: Column, value: Any) -> Any:
    """A held value as it compares: ids in 18 characters with their case, other text without it."""
    if not isinstance(value, str) or column.type in {"date", "datetime"}:
        return float(value) if column.type in NUMBERS and value is not None else value
    return id18(value) if column.type in {"id", "reference"} else value.casefold()


def _sort_key(column: Column, is_descending: bool, nulls_last: bool) -> Callable[[Row], tuple[bool, Any]]:
    null_rank = nulls_last != is_descending

    def key(row: Row) -> tuple[bool, Any]:
        value = _folded(column, column.read(row))
        return (null_rank, "") if value is None else (not null_rank, value)

    return key
