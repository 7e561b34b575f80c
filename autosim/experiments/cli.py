"""The command ``autosim``: its subcommands, and how errors and Ctrl-C end it.

Exit codes: 0 done, 1 some runs of a comparison failed, 2 a mistake of the user's or of a renderer (one line on stderr),
130 interrupted.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from autosim.errors import RendererError, UserError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    try:
        if arguments[0] not in COMMANDS:
            raise UserError(f"unknown command {arguments[0]!r}; there are: {', '.join(COMMANDS)}")
        return COMMANDS[arguments[0]](arguments[1:])
    except (UserError, RendererError) as error:
        print(f"autosim: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
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
    return "\n".join([*lines, "", "autosim COMMAND --help tells the options of a command."])


def run(arguments: Sequence[str]) -> int:
    """Run one algorithm on one environment."""
    from autosim.experiments import parsing

    if any(argument in ("-h", "--help") for argument in arguments):
        wanted = [argument for argument in arguments if argument not in ("-h", "--help")]
        print(parsing.run_help(wanted), end="")
        return 0
    folder = parsing.resumed_folder(arguments)
    request = parsing.parse_run(arguments if folder is None else ["--config", str(folder / "config.yaml")])
    from rich.console import Console

    from autosim.experiments.loop import execute, resume

    command = shlex.join(["autosim", "run", *arguments])
    if folder is None:
        summary = execute(request.config, request.out, Console(), command)
    else:
        summary = resume(request.config, folder, Console(), command)
    return INTERRUPTED if summary["interrupted"] else 0


def tune(arguments: Sequence[str]) -> int:
    """Try one algorithm at other settings, on Ray Tune."""
    from autosim.experiments import tune_request

    if any(argument in ("-h", "--help") for argument in arguments):
        print(tune_request.tune_help([item for item in arguments if item not in ("-h", "--help")]), end="")
        return 0
    request = tune_request.parse_tune(arguments)
    from rich.console import Console

    from autosim.experiments.tune import tune as search

    console = Console()
    if not console.is_terminal:
        console.width = 140  # what a file is assumed to be, 80, is too narrow for a table with a column an option
    return 0 if search(request, console, shlex.join(["autosim", "tune", *arguments])) else INTERRUPTED


def report(arguments: Sequence[str]) -> int:
    """Write report.html anew from what a run folder holds: autosim report FOLDER."""
    from autosim.experiments.report import write_report
    from autosim.experiments.runfolder import RunFolder

    if any(argument in ("-h", "--help") for argument in arguments):
        print(f"usage: autosim report FOLDER\n\n{report.__doc__}")
        return 0
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise UserError("report needs one run folder: autosim report FOLDER")
    print(write_report(RunFolder(Path(arguments[0]))))
    return 0


def evidence(arguments: Sequence[str]) -> int:
    """Gather finished runs into one file of figures; write the README's tables anew."""
    from autosim.experiments import evidence as gathering
    from autosim.experiments import tables

    if any(argument in ("-h", "--help") for argument in arguments):
        print(gathering.request_help(), end="")
        return 0
    request = gathering.parse_request(arguments)
    if request.runs and request.name:
        for path in tables.write_results(gathering.gather(request.runs, request.name), request.out):
            print(path)
    if request.readme:
        tables.update_document(gathering.README, request.out)
        print(gathering.README)
    return 0


def compare(arguments: Sequence[str]) -> int:
    """Compare algorithms, or values of one option, on one environment under one budget."""
    from autosim.experiments import comparison_parsing

    if any(argument in ("-h", "--help") for argument in arguments):
        wanted = [argument for argument in arguments if argument not in ("-h", "--help")]
        print(comparison_parsing.comparison_help(wanted), end="")
        return 0
    comparison = comparison_parsing.parse_comparison(arguments)
    from rich.console import Console

    from autosim.experiments.compare import compare as run_comparison
    from autosim.experiments.comparison_progress import results_table

    console = Console()
    results = run_comparison(comparison, console, shlex.join(["autosim", "compare", *arguments]))
    console.print(results_table(results))
    console.print(f"report: {comparison.out / 'report.html'}", highlight=False, soft_wrap=True)
    return 1 if results["failures"] else 0


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": run,
    "report": report,
    "evidence": evidence,
    "compare": compare,
    "tune": tune,
}

if __name__ == "__main__":
    raise SystemExit(main())
