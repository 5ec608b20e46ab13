"""The command line: parses, calls, and turns errors into one line and an exit status.

Nothing heavy is imported here, so that `--help` answers at once: each command imports what it needs.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtcseg import __version__
from dtcseg.cli_weights import weights_app
from dtcseg.errors import DtcsegError, UsageError

if TYPE_CHECKING:
    from dtcseg.cells import Stain as Word
    from dtcseg.exports.command import Format

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="dtcseg",
    help="Count disseminated tumour cells in scanned, cytokeratin-stained bone marrow cytospins. Research use only.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(weights_app)


class StainName(StrEnum):
    """Stains a slide can have (the words of `dtcseg.cells.STAINS`, which would load NumPy)."""

    NEW_FUCHSIN = "new_fuchsin"
    FAST_RED = "fast_red"
    AEC = "aec"
    DAB = "dab"
    IF = "if"


class Count(StrEnum):
    """How nuclei are counted (the words of `dtcseg.config.ScoreConfig.count`)."""

    ALL = "all"
    SAMPLED = "sampled"


class ExportFormat(StrEnum):
    """Formats of other programs (the words of `dtcseg.exports.command.FORMATS`, which would load NumPy)."""

    QUPATH = "qupath"
    COCO = "coco"
    DICOM = "dicom"
    OME_ZARR = "ome-zarr"
    OME_ZARR_04 = "ome-zarr-0.4"
    STAGE = "stage"


class ExportOrigin(StrEnum):
    """Where QuPath begins to count (the words of `dtcseg.exports.qupath.ORIGINS`)."""

    AUTO = "auto"
    SLIDE = "slide"
    BOUNDS = "bounds"


Inputs = Annotated[list[Path], typer.Argument(metavar="INPUT", help="Slide files, or folders of them.")]
Out = Annotated[Path, typer.Option("--out", help="Results folder; made when it is not there.")]
Stain = Annotated[StainName | None, typer.Option("--stain", help="Stain of all slides, instead of recognising it.")]
Mpp = Annotated[float | None, typer.Option("--mpp", help="Pixel size in µm, instead of the one in the files.")]
Model = Annotated[str, typer.Option("--model", metavar="NAME_OR_FILE", help="Weights; by default what is in use here.")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda|mps", help="Where the network runs.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Slides scored side by side.")]
Scheduler = Annotated[str | None, typer.Option("--scheduler", metavar="ADDRESS", help="Dask scheduler to score on.")]
Counting = Annotated[Count, typer.Option("--count", help="Nuclei: all, or those of a random sample of fields.")]
Watch = Annotated[bool, typer.Option("--watch", help="Go on with what a scanner brings into the folders; Ctrl-C ends.")]
Limit = Annotated[
    float, typer.Option("--limit", metavar="MINUTES", help="A slide without progress for so long is given up.")
]
Weights = Annotated[str, typer.Argument(metavar="WEIGHTS", help='Name or file; "" for what is in use here.')]
Page = Annotated[Path | None, typer.Option("--out", metavar="FILE.html", help="Write plots and pictures as well.")]
Results = Annotated[Path, typer.Argument(metavar="RESULTS", help="A results folder.")]
Picture = Annotated[Path | None, typer.Option("--out", metavar="FILE.svg", help="Write the picture, too.")]
Reader = Annotated[str, typer.Option("--reader", metavar="NAME", help="Who reads; begins at once.")]
Assays = Annotated[Path | None, typer.Option("--assays", metavar="FILE", help="Other assays of the patients, CSV.")]
Arms = Annotated[Path | None, typer.Option("--arms", metavar="FILE", help="Arm of each patient, CSV.")]
Timepoints = Annotated[Path | None, typer.Option("--timepoints", metavar="FILE", help="Order of time points, CSV.")]
PerMillion = Annotated[float, typer.Option("--rate", min=1e-6, help="DTC per 10^6 cells: to exclude, or at the start.")]
Reduction = Annotated[
    float | None, typer.Option("--reduction", min=0.01, max=1.0, help="Share by which it falls, to be seen later.")
]
Depth = Annotated[float | None, typer.Option("--screened", min=1.0, help="Cells screened at the start, if done.")]
SlideCells = Annotated[float, typer.Option("--slide-cells", min=1.0, help="Cells on a slide.")]
Slide = Annotated[Path, typer.Argument(metavar="SLIDE", exists=True, help="A slide file, or a folder that is one.")]
SimulateOut = Annotated[Path, typer.Argument(metavar="OUT", file_okay=False, help="Folder for the slides.")]
Slides = Annotated[int, typer.Option("--slides", min=1, help="How many slides.")]
SimulateStain = Annotated[StainName | None, typer.Option("--stain", help="Stain of all slides; else all in turn.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same slides.")]
SimulateMpp = Annotated[float, typer.Option("--mpp", min=0.1, max=1.1, help="Pixel size in µm.")]
ReviewedResults = Annotated[list[Path], typer.Argument(metavar="RESULTS", help="Results folders with verdicts.")]
AskCount = Annotated[int, typer.Option("--count", min=1, help="Cells to ask about, at most.")]
AskOut = Annotated[Path | None, typer.Option("--out", metavar="FILE.csv", help="Write the list of cells, too.")]
WeightsOut = Annotated[Path, typer.Option("--out", metavar="WEIGHTS", help="The weights file, NAME.safetensors.")]
Start = Annotated[str, typer.Option("--model", metavar="NAME_OR_FILE", help="Weights to begin with.")]
Annotations = Annotated[
    list[Path] | None,
    typer.Option("--annotations", metavar="FILE", help="GeoJSON, COCO or label image of these slides; repeatable."),
]
Force = Annotated[bool, typer.Option("--force", help="Write the weights though the gate refuses; their card says so.")]
LearnSeed = Annotated[int, typer.Option("--seed", min=0, help="The same seed and inputs give the same weights.")]
WidthMm = Annotated[float, typer.Option("--width-mm", min=0.1, max=30.0, help="Side of a slide's picture in mm.")]
Enriched = Annotated[bool, typer.Option("--enriched", help="Several tumour cells a mm², to train on.")]

ExportTo = Annotated[list[ExportFormat], typer.Option("--to", help="Format; may be given several times.")]
ExportOut = Annotated[
    Path | None, typer.Option("--out", help="Folder for the files; beside the slides' other results by default.")
]
OnlySlides = Annotated[list[str] | None, typer.Option("--slide", metavar="SLIDE", help="Only this slide; repeatable.")]
CountFrom = Annotated[
    ExportOrigin, typer.Option("--origin", help="qupath: count from the scanned part where QuPath crops to it (auto).")
]
Marks = Annotated[
    list[str] | None,
    typer.Option("--mark", metavar="X_PX,Y_PX=X_UM,Y_UM", help="stage: one of two places known in both; give two."),
]
Mirrored = Annotated[bool, typer.Option("--mirrored", help="stage: its axes are mirrored against the image's.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dtcseg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Hold the options that stand before the command."""


@app.command()
def score(
    inputs: Inputs,
    out: Out,
    stain: Stain = None,
    mpp: Mpp = None,
    model: Model = "",
    device: Device = "auto",
    workers: Workers = 1,
    scheduler: Scheduler = None,
    watch: Watch = False,
    limit: Limit = 20.0,
    count: Counting = Count.ALL,
) -> None:
    """Score slides into a results folder.

    The same command again does only what is missing.
    """
    from dtcseg.batch import score_jobs, watch_folders
    from dtcseg.config import ScoreConfig
    from dtcseg.drift.folder import drift_of
    from dtcseg.manifest import find_slides
    from dtcseg.results.record import SlideRecord
    from dtcseg.results.summary import summary_text

    config = ScoreConfig(
        out=out,
        model=model,
        device=device,
        workers=workers,
        scheduler=scheduler,
        count=count.value,
        limit_s=limit * 60,
    )
    word = stain.value if stain else None
    if watch:
        result = watch_folders(inputs, config, stain=word, mpp_um=mpp)
    else:
        result = score_jobs(*find_slides(inputs, stain=word, mpp_um=mpp), config)
    typer.echo(summary_text(result.rows, out / "report.html"))
    drift = drift_of(out, [row for row in result.rows if isinstance(row, SlideRecord)])
    if drift is not None and drift.alarms:
        typer.echo(f"dtcseg: {drift.text} (picture in the report)", err=True)
    raise typer.Exit(result.status)


@app.command()
def review(results: Results, reader: Reader = "") -> None:
    """Open napari on results, to judge and correct their cells.

    RESULTS may be the folder of one slide in it.
    """
    from dtcseg_napari._launch import launch

    launch(results, reader)


@app.command()
def report(results: Results, assays: Assays = None, arms: Arms = None, timepoints: Timepoints = None) -> None:
    """Refresh the tables and report of a results folder.

    Writes slides.csv, patients.csv and report.html again from what is in the folders of the slides: cells, verdicts.
    Tables of the laboratory (assays.csv, arms.csv, timepoints.csv) are taken from the results folder, or as given.
    """
    from dtcseg.report.sheets import SheetFiles
    from dtcseg.results.folder import refresh
    from dtcseg.results.text import one_line

    done = refresh(results, SheetFiles(assays, arms, timepoints))
    for warning in done.warnings:
        typer.echo(f"dtcseg: {one_line(warning)}", err=True)
    typer.echo(one_line(done.report))


@app.command()
def export(
    results: Results,
    to: ExportTo,
    out: ExportOut = None,
    slide: OnlySlides = None,
    origin: CountFrom = ExportOrigin.AUTO,
    mark: Marks = None,
    mirrored: Mirrored = False,
) -> None:
    """Write results in the formats of other programs.

    Works from the results folder alone; the slides need not be there.
    """
    from dtcseg.exports.command import export_results
    from dtcseg.exports.stage import fit_marks
    from dtcseg.results.text import one_line

    fit = fit_marks(mark or [], mirrored=mirrored)
    formats: list[Format] = [form.value for form in to]
    done = export_results(results, formats, out=out, names=slide or (), origin=origin.value, fit=fit)
    for path in done.written:
        typer.echo(one_line(path))
    for line in (*done.notes, *done.problems):
        typer.echo(line, err=True)
    raise typer.Exit(EXIT_FAILED if done.problems else 0)


@app.command()
def ask(results: ReviewedResults, count: AskCount = 50, out: AskOut = None) -> None:
    """Say which slides and cells to review next so that the weights learn most, or that enough is reviewed.

    In `dtcseg review` the order "teaches most first" shows the same cells of one results folder.
    """
    from dtcseg.results.text import one_line
    from dtcseg.review.ask_results import ask_results

    found = ask_results(results, count)
    for problem in found.problems:
        typer.echo(f"dtcseg: {one_line(problem)}", err=True)
    typer.echo(f"{found.read} cells are read; {found.enough.text}")
    for slide, cells in found.slides.items():
        typer.echo(f"  {one_line(slide)}: {cells} cells")
    if out is not None:
        from dtcseg.results.atomic import write_file, writing_to

        with writing_to(out.parent):
            write_file(out, found.csv())
        typer.echo(one_line(out))


@app.command()
def drift(results: Results, out: Picture = None) -> None:
    """Say whether slides are like those that the weights know: staining, focus, scores.

    All slides of a results folder, then those of each day on which some were scored.
    """
    from dtcseg.drift.folder import drift_lines
    from dtcseg.results.text import one_line

    lines, picture = drift_lines(results)
    for line in lines:
        typer.echo(line)
    if out is not None:
        from dtcseg.results.atomic import write_file, writing_to

        with writing_to(out.parent):
            write_file(out, picture)
        typer.echo(one_line(out))


@app.command()
def advise(
    rate: PerMillion = 1.0, reduction: Reduction = None, screened: Depth = None, slide_cells: SlideCells = 5e5
) -> None:
    """Say how many cells to screen to exclude a rate, or to see it fall (exact tests, 95 %, power 80 %)."""
    from dtcseg.report.plan import advice

    for line in advice(rate, reduction=reduction, screened=screened, slide_cells=slide_cells):
        typer.echo(line)


@app.command()
def verify(results: Results) -> None:
    """Check that no verdict log was changed.

    Names file and line of every change found; exit status 0 when there is none, 1 otherwise.
    """
    from dtcseg.results.text import one_line
    from dtcseg.verdicts.audit import verify as check

    found = check(results)
    for problem in found.problems:
        typer.echo(str(problem))
    for remark in found.remarks:
        typer.echo(f"{remark} (no change)")
    outcome = "no change found" if found.sound else f"changes found: {len(found.problems)}"
    typer.echo(f"{one_line(results)}: {found.logs} logs with {found.entries} entries, {outcome}")
    raise typer.Exit(0 if found.sound else EXIT_FAILED)


@app.command()
def train(
    results: ReviewedResults,
    out: WeightsOut,
    model: Start = "",
    annotations: Annotations = None,
    device: Device = "auto",
    force: Force = False,
    seed: LearnSeed = 1,
) -> None:
    """Learn from reviews: fit weights to verdicts, and keep them if they are better.

    The same command goes on after a stop. Exit status 1: the gate refused; the report says why.
    """
    from dtcseg_training.learn.run import learn
    from dtcseg_training.learn.terminal import shown

    with shown() as tell:
        outcome = learn(
            results,
            out,
            annotations=annotations or (),
            model=model,
            device=device,
            force=force,
            seed=seed,
            progress=tell,
        )
    for line in (*outcome.data.left_out, *outcome.gate.warnings):
        typer.echo(f"dtcseg: {line}", err=True)
    typer.echo(outcome.summary)
    raise typer.Exit(0 if outcome.weights else EXIT_FAILED)


@app.command()
def evaluate(weights: Weights, slides: Inputs, out: Page = None, device: Device = "auto") -> None:
    """Compare weights with the truth of slides: recall, precision, FROC, outlines, counts and calibration."""
    from dtcseg_training.evaluate import evaluate as compare_with_truth
    from dtcseg_training.figures import table

    results = compare_with_truth(weights, slides, device=device)
    typer.echo(table(results))
    if out is not None:
        from dtcseg_training.evaluation_page import page

        from dtcseg.network.weights import resolve
        from dtcseg.results.atomic import write_file

        write_file(out, page(results, resolve(weights)).encode())
        typer.echo(out)


@app.command()
def simulate(
    out: SimulateOut,
    slides: Slides = 1,
    stain: SimulateStain = None,
    seed: Seed = 0,
    mpp: SimulateMpp = 0.5,
    width_mm: WidthMm = 2.0,
    enriched: Enriched = False,
) -> None:
    """Make slides with known truth."""
    from dtcseg_training.simulate import simulate as make_slides

    chosen: Word | None = stain.value if stain else None
    make_slides(out, slides=slides, stain=chosen, seed=seed, mpp_um=mpp, width_mm=width_mm, enriched=enriched)
    typer.echo(out / "slides.csv")


@app.command()
def info(slide: Slide, mpp: Mpp = None) -> None:
    """Say what a slide file is and what is wrong with it."""
    from dtcseg.info import describe

    typer.echo(describe(slide, mpp_um=mpp))


def main() -> None:
    """Run the command line and leave with its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a character that the terminal does not know must not end the program
            stream.reconfigure(errors="replace")
    sys.exit(_status())


def _status() -> int:
    from dtcseg.results.text import one_line

    try:
        status = app(standalone_mode=False)
    except DtcsegError as error:
        typer.echo(f"dtcseg: {one_line(error)}", err=True)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left, for instance `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush at exit complains again
        return EXIT_FAILED
    except OSError as error:
        typer.echo(f"dtcseg: {one_line(error.filename or 'writing')}: {one_line(error.strerror or error)}", err=True)
        return EXIT_FAILED
    except Exception as error:
        message = getattr(error, "format_message", None)  # the parser's own errors, wherever typer keeps their class
        if message is None:
            raise
        typer.echo(f"dtcseg: {one_line(message())} (see dtcseg --help)", err=True)
        return int(getattr(error, "exit_code", EXIT_USAGE))
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    main()
