"""The command ``autosim``: its subcommands, and how errors and Ctrl-C end it.

Exit codes: 0 done, 1 some runs of a comparison failed or a process was lost, 2 a mistake of the user's or of a
renderer (one line on stderr), 130 interrupted.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from autosim import registry
from autosim.errors import LostProcessError, RendererError, UserError
from autosim.runs.interrupt import heeding_interrupts

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    try:
        if arguments == ["--version"]:
            print(f"autosim {registry.installed_version()}")
            return 0
        if arguments[0] not in COMMANDS:
            raise UserError(f"unknown command {arguments[0]!r}; there are: {', '.join(COMMANDS)}")
        with heeding_interrupts():
            return COMMANDS[arguments[0]](arguments[1:])
    except (UserError, RendererError) as error:
        print(f"autosim: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except LostProcessError as error:
        words = " ".join(str(error).split())
        print(f"autosim: {words}; autosim run --resume FOLDER goes on with a run", file=sys.stderr)
        return 1
    except (OSError, MemoryError) as error:
        print(f"autosim: {told(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def told(error: OSError | MemoryError) -> str:
    """A file, a folder or memory that failed, in one line."""
    if isinstance(error, MemoryError):
        return "out of memory"
    where = f"{error.filename}: " if error.filename else ""
    return " ".join(f"{where}{error.strerror or error or type(error).__name__}".split())


def usage() -> str:
    """The subcommands, one a line."""
    lines = ["usage: autosim COMMAND [options]", "", "commands:"]
    lines += [f"  {name:<10}{(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items()]
    return "\n".join([*lines, "", "autosim COMMAND --help shows the options of a command."])


def run(arguments: Sequence[str]) -> int:
    """Run one algorithm on one environment."""
    from autosim.cli import run_options

    if any(argument in ("-h", "--help") for argument in arguments):
        wanted = [argument for argument in arguments if argument not in ("-h", "--help")]
        print(run_options.run_help(wanted), end="")
        return 0
    folder = run_options.resumed_folder(arguments)
    request = run_options.parse_run(arguments if folder is None else ["--config", str(folder / "config.yaml")])
    from rich.console import Console

    from autosim.runs.loop import execute, resume

    command = shlex.join(["autosim", "run", *arguments])
    if folder is None:
        summary = execute(request.config, request.out, Console(), command)
    else:
        summary = resume(request.config, folder, Console(), command)
    return INTERRUPTED if summary["interrupted"] else 0


def tune(arguments: Sequence[str]) -> int:
    """Try one algorithm at other settings, on Ray Tune."""
    from autosim.cli import tune_options

    if any(argument in ("-h", "--help") for argument in arguments):
        print(tune_options.tune_help([item for item in arguments if item not in ("-h", "--help")]), end="")
        return 0
    request = tune_options.parse_tune(arguments)
    from rich.console import Console

    from autosim.tuning.tune import tune as search

    console = Console()
    if not console.is_terminal:
        console.width = 140  # what a file is assumed to be, 80, is too narrow for a table with a column an option
    return 0 if search(request, console, shlex.join(["autosim", "tune", *arguments])) else INTERRUPTED


def report(arguments: Sequence[str]) -> int:
    """Write report.html anew from what a run folder holds: autosim report FOLDER."""
    from autosim.reports.run_page import write_report
    from autosim.runs.folder import RunFolder

    if any(argument in ("-h", "--help") for argument in arguments):
        print(f"usage: autosim report FOLDER\n\n{report.__doc__}")
        return 0
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise UserError("report needs one run folder: autosim report FOLDER")
    folder = Path(arguments[0])
    print(write_report(folder, RunFolder(folder).read_summary()))
    return 0


def compare(arguments: Sequence[str]) -> int:
    """Compare algorithms, or values of one option, on one environment under one budget."""
    from autosim.cli import compare_options

    if any(argument in ("-h", "--help") for argument in arguments):
        wanted = [argument for argument in arguments if argument not in ("-h", "--help")]
        print(compare_options.comparison_help(wanted), end="")
        return 0
    comparison = compare_options.parse_comparison(arguments)
    from rich.console import Console

    from autosim.comparison.compare import compare as run_comparison
    from autosim.comparison.progress import results_table

    console = Console()
    results = run_comparison(comparison, console, shlex.join(["autosim", "compare", *arguments]))
    console.print(results_table(results).rich(f"{results['comparison']} on {results['env']}, medians"))
    console.print(f"report: {comparison.out / 'report.html'}", highlight=False, soft_wrap=True)
    return 1 if results["failures"] else 0


def export(arguments: Sequence[str]) -> int:
    """Write a data set that is drawn from what a run has learned: autosim export FOLDER --out DIR."""
    from autosim.cli import export_options

    if any(argument in ("-h", "--help") for argument in arguments):
        print(export_options.export_help(), end="")
        return 0
    request = export_options.parse_export(arguments)
    from rich.console import Console

    from autosim.export.export import export as write
    from autosim.runs.folder import RunFolder

    folder = RunFolder(request.folder)
    write(request.config, folder, request.settings, request.out, Console(), request.workers)
    return 0


def list_installed(arguments: Sequence[str]) -> int:
    """List what is installed, or with --env NAME which algorithms can learn on it."""
    from autosim.cli.listing import USAGE, listing

    if any(argument in ("-h", "--help") for argument in arguments):
        print(USAGE, end="")
        return 0
    for line in listing(arguments):
        print(line)
    return 0


def check(arguments: Sequence[str]) -> int:
    """Check that an installed environment or algorithm keeps its contract."""
    from autosim.cli import check as command

    if any(argument in ("-h", "--help") for argument in arguments):
        print(command.check_help([item for item in arguments if item not in ("-h", "--help")]), end="")
        return 0
    return 0 if command.run_checks(command.parse_check(arguments)) else 1


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "list": list_installed,
    "check": check,
    "run": run,
    "report": report,
    "export": export,
    "compare": compare,
    "tune": tune,
}

if __name__ == "__main__":
    raise SystemExit(main())
