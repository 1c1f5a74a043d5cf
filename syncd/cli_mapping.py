"""`syncd connect inspect` and `syncd mapping …`: how an admin maps a firm's own fields without a programmer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncd.config import FIRM_FILE
from syncd.terminal import (
    NEEDS_PERSON,
    NOT_FOUND,
    OK,
    AsJson,
    Home,
    Name,
    Only,
    about,
    fail,
    me,
    opened,
    out,
    settings_of,
    show,
    show_json,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mappings.cases import Outcome
    from mappings.checking import CheckedFile
    from mappings.transforms import Transform
    from syncd.config import Settings

mapping = typer.Typer(
    no_args_is_help=True,
    help="Check, try out and compare mapping files: which vendor field is which field here.\n\n"
    "The firm's own lines stand in `mappings/CONNECTION.yaml` in the home folder and replace single shipped lines."
    " The way: `syncd connect inspect crm`, edit the file, `syncd mapping check`, `syncd mapping preview crm ID`,"
    " `syncd sync --once`.",
)


def connect_inspect(
    name: Name,
    resource: Annotated[str | None, typer.Option(help="Only this resource.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show unmapped standard fields too.")] = False,
    pin: Annotated[
        bool, typer.Option("--pin", help="Accept the fields as they are now; drift is measured from here on.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """The account's fields: type, masked example, the lines that use them; and lines to paste for the rest.

    Example: `syncd connect inspect crm --resource Contact` shows Contact's own fields and proposes lines for the
    firm's file. Values are never shown, only their shape. Exit code 1 when fields have drifted from what was pinned.
    """
    from syncd import inspecting, wording

    with opened(home) as app, about(name):
        found = inspecting.inspect(app, name, resource=resource, pin_by=me() if pin else None)
    if as_json:
        show_json(found)
    else:
        show(wording.inspected(found, every=every))
    raise typer.Exit(NEEDS_PERSON if any(each["drift"] for each in found["resources"]) else OK)


@mapping.command("check")
def mapping_check(
    file: Annotated[
        Path | None,
        typer.Argument(help="One file; without it all shipped ones and the firm's own.", show_default=False),
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Read mapping files and tell every mistake with file, line and the nearest right word. Touches nothing else.

    A connection's own file is also held against what its account can hold and what may enter its zone.

    Example: `syncd mapping check ~/.syncd/mappings/crm.yaml`. Exit code 0: all right; 1: a file has mistakes;
    3: there is no such file.
    """
    from mappings import checking
    from mappings.transforms import SHIPPED
    from syncd import wording

    # A file that lies in a home is checked as that home would use it.
    folder = settings_of(home).home if file is None else file.absolute().parent.parent
    files = [file] if file is not None else _own_files(folder)
    found = [] if file is not None else list(checking.check_shipped())
    known: Mapping[str, Transform] = SHIPPED
    if (own := folder / "transforms.py").is_file():
        told, known = checking.check_transforms(own)
        found.append(told)
    for path in files:
        try:
            found.append(_checked(path, folder, known))
        except (OSError, UnicodeDecodeError) as error:
            fail(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not a text'}).", NOT_FOUND)
    if as_json:
        show_json([{"file": e.file, "what": e.what, "lines": e.lines, "errors": e.errors} for e in found])
    else:
        show(wording.checked_files(found))
    raise typer.Exit(NEEDS_PERSON if any(each.errors for each in found) else OK)


def _checked(path: Path, folder: Path, transforms: Mapping[str, Transform]) -> CheckedFile:
    """The file by itself; and when it is a connection's own, against what that account is known to hold."""
    from mappings import checking
    from syncd import inspecting
    from syncd.schemas import agreed

    if path.absolute().parent != folder / "mappings" or not (folder / FIRM_FILE).is_file():
        return checking.check_file(path, transforms)
    with opened(folder) as app:
        told = checking.check_file(path, transforms, agreed(app, path.stem))
        return told if told.errors else replace(told, errors=inspecting.mistakes(app, path.stem, path.name))


def _own_files(folder: Path) -> list[Path]:
    return sorted([*(folder / "mappings").glob("*.yaml"), *(folder / "mappings" / "cases").glob("*.yaml")])


@mapping.command("preview")
def mapping_preview(
    connection: Annotated[str, typer.Argument(help="The connection's name.")],
    record: Annotated[str, typer.Argument(metavar="RECORD-ID", help="The vendor's id, or RESOURCE/ID.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """One record: what the vendor has, what it means here, and what each other system would be sent. Writes nothing.

    Example: `syncd mapping preview crm 0035g0000000001AAA` after a line was changed, before anything is synced.
    """
    from syncd import previewing, wording

    with opened(home) as app, about(connection):
        found = previewing.preview(app, connection, record)
    if as_json:
        show_json(found)
    else:
        show(wording.previewed(found, out.width))
    raise typer.Exit(NEEDS_PERSON if found["aside"] else OK)


@mapping.command("test")
def mapping_test(
    connection: Annotated[
        str | None, typer.Argument(help="Only the cases of this connection, or of this connector.", show_default=False)
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Run the cases beside the mappings: given this record, expect these values. Needs no network and no database.

    Shipped cases run against the shipped mappings; the firm's own, in `mappings/cases/CONNECTION.yaml` of the home
    folder, against the mapping with the firm's lines. Example: `syncd mapping test crm`. Exit code 1: a case fails.
    """
    from mappings import cases
    from mappings.language import MappingError
    from syncd import wording

    settings = settings_of(home)
    try:
        shipped = {name: list(cases.run_shipped(name, settings.firm.region)) for name in cases.shipped_cases()}
        own = dict(_own_cases(settings))
    except MappingError as error:
        fail("A file is wrong; no case was run.\n" + "\n".join(error.errors), NEEDS_PERSON)
    wanted = {connection, *(() if connection not in own else (own[connection][0],))} if connection else None
    found = [(f"{name} (shipped)", each) for name, each in shipped.items() if wanted is None or name in wanted]
    found += [(name, each) for name, (_, each) in own.items() if wanted is None or name in wanted]
    if not found:
        fail(f"There are no cases for {connection!r}. There are: {', '.join({**shipped, **own})}.", NOT_FOUND)
    if as_json:
        show_json(
            [
                {"of": name, "case": e.name, "where": e.where, "failures": e.failures}
                for name, outcomes in found
                for e in outcomes
            ]
        )
    else:
        show(wording.tested(found))
    raise typer.Exit(NEEDS_PERSON if any(e.failures for _, outcomes in found for e in outcomes) else OK)


def _own_cases(settings: Settings) -> Iterator[tuple[str, tuple[str, list[Outcome]]]]:
    """Connection -> its connector, and what became of the firm's cases for it."""
    from mappings import cases
    from mappings.load import load

    for path in sorted((settings.home / "mappings" / "cases").glob("*.yaml")):
        found = cases.read_cases(path.read_text(encoding="utf-8"), f"cases/{path.name}")
        own = settings.home / "mappings" / path.name
        lens = load(found.connector, region=settings.firm.region, override=own if own.exists() else None)
        yield path.stem, (found.connector, list(cases.run(found, lens)))


@mapping.command("diff")
def mapping_diff(
    connection: Only = None,
    seen: Annotated[
        bool, typer.Option("--seen", help="What upgrades changed has been looked at: measure from here on.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """What the firm's own lines change in the shipped mappings, and what upgrades changed under them since.

    Example: `syncd mapping diff crm` after an upgrade. Exit code 1 when an upgrade changed a line that the firm has
    replaced: look whether the firm's line is still right, then `syncd mapping diff crm --seen`.
    """
    from syncd import once, upgrades, wording

    with opened(home) as app:
        members = upgrades.connectors(app)
        chosen = [name for name in members if connection in (None, name)]
        if connection is not None and not chosen:
            raise once.Unknown(f"There is no connection named {connection!r}. There are: {', '.join(members)}.")
        for name in chosen:
            upgrades.note(app, name, members[name], again=seen)
        found = [upgrades.diff(app, name, members[name]) for name in chosen]
    if as_json:
        show_json(found)
    else:
        show(wording.mapping_diff(found))
    touched = any(line["upgrade"] in ("changed", "gone") for each in found for line in each["lines"])
    raise typer.Exit(NEEDS_PERSON if touched else OK)
