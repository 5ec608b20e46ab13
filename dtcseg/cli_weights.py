"""The command line of the weights: `dtcseg weights list | use | show | rollback`."""

from __future__ import annotations

from typing import Annotated

import typer

weights_app = typer.Typer(
    name="weights",
    help="The weights of this laboratory: released ones, and those learned from its reviews.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_LONGEST_GATE = 40

Model = Annotated[str, typer.Argument(metavar="NAME_OR_FILE", help="A name of the list, a hash, or a weights file.")]
OneModel = Annotated[str, typer.Argument(metavar="[NAME_OR_FILE]", help="By default what is in use.")]


@weights_app.command("list")
def list_() -> None:
    """List all weights; a star marks those that `dtcseg score` takes when no others are asked for."""
    from dtcseg.network.history import own_folder
    from dtcseg.registry import gate_texts, list_weights
    from dtcseg.results.text import one_line

    rows = [("", "name", "sha256", "kind", "last taken into use", "gate")]
    for known in list_weights():
        gate = "; ".join(gate_texts(known.info.card)) if known.info else f"UNUSABLE: {known.problem}"
        kind = "released" if known.released else "own"
        star = "*" if known.in_use else ""
        rows.append((star, known.name, known.sha256[:12], kind, known.since, gate))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        gate = row[5] if len(row[5]) <= _LONGEST_GATE or "UNUSABLE" in row[5] else f"{row[5][: _LONGEST_GATE - 1]}…"
        typer.echo("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), gate]).rstrip())
    typer.echo(f"own weights lie in {one_line(own_folder())}")


@weights_app.command("use")
def use_(model: Model) -> None:
    """Let `dtcseg score` take these weights when no others are asked for.

    A file is copied into the laboratory's folder. Results that are there stay as they are.
    """
    from dtcseg.registry import use

    done = use(model)
    if not done.changed:
        typer.echo(f"{done.now.name} ({done.now.sha256[:12]}) is in use already")
        return
    typer.echo(f"{done.now.name} ({done.now.sha256[:12]}) is in use now; before: {done.before}")
    typer.echo("`dtcseg weights rollback` goes back. Results that are there stay as they are.")


@weights_app.command("show")
def show_(model: OneModel = "") -> None:
    """Show what the card of weights says: hash, architecture, what they learned from, what the gate said."""
    from dtcseg.registry import essentials, find

    lines = essentials(find(model))
    last = ""
    for what, text in lines:
        typer.echo(f"{'' if what == last else what:<17}{text}")
        last = what


@weights_app.command("rollback")
def rollback_() -> None:
    """Go back to the weights that were in use before."""
    from dtcseg.registry import rollback

    done = rollback()
    typer.echo(f"{done.now.name} ({done.now.sha256[:12]}) is in use again; given up: {done.before}")
