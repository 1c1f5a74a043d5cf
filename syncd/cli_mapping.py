"""`syncd connect inspect` and `syncd mapping …`: how an admin maps a firm's own fields without a programmer."""

from __future__ import annotations

from typing import Annotated

import typer

from syncd.terminal import NEEDS_PERSON, OK, AsJson, Home, Name, about, me, opened, show, show_json

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
