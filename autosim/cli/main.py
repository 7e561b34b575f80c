"""The command ``autosim``: its subcommands, and how errors and Ctrl-C end it.

Exit codes: 0 done, 1 some runs of a comparison failed or something is at fault that the user cannot mend, 2 a mistake
of the user's or of a renderer, 130 interrupted by Ctrl-C, 143 by SIGTERM. What is wrong is told in one line of at most
300 characters on stderr.
"""

from __future__ import annotations

import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from autosim import registry
from autosim.errors import (
    LostProcessError,
    MachineError,
    RendererError,
    UserError,
    did_you_mean,
    machine_or_user,
    shortened,
)
from autosim.parallel import await_last_words
from autosim.registry import one_line
from autosim.runs.interrupt import exit_code, heeding_interrupts

# Where this is set, an error that nobody foresaw is shown with its traceback.
TRACEBACK = "AUTOSIM_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with warnings.catch_warnings():
        if not sys.warnoptions:  # warnings of libraries are none of the user's concern, unless they are asked for
            warnings.simplefilter("ignore")
        return _main(arguments)


def _main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    try:
        if list(arguments) == ["--version"]:
            print(f"autosim {registry.installed_version()}")
            return 0
        if arguments[0] not in COMMANDS:
            near = did_you_mean(arguments[0], list(COMMANDS))
            raise UserError(f"unknown command {arguments[0]!r}{near or '; there are: ' + ', '.join(COMMANDS)}")
        with heeding_interrupts():
            return COMMANDS[arguments[0]](arguments[1:])
    except (UserError, RendererError) as error:
        return _told(str(error), 2)
    except MachineError as error:
        return _told(str(error), 1)
    except LostProcessError as error:
        await_last_words()
        return _told(str(error), 1)
    except (OSError, MemoryError) as error:
        told = machine_or_user(error)
        return _told(str(told), 1 if isinstance(told, MachineError) else 2)
    except KeyboardInterrupt:
        return exit_code()
    except Exception as error:
        await_last_words()
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return _told(f"{shortened(one_line(error), 180)} (in {where}; {TRACEBACK}=1 shows the traceback)", 1)


def _told(line: str, code: int) -> int:
    print(f"autosim: {shortened(line)}", file=sys.stderr)
    return code


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
    return exit_code() if summary["interrupted"] else 0


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
    return 0 if search(request, console, shlex.join(["autosim", "tune", *arguments])) else exit_code()


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
    from autosim.comparison.verdict import verdict

    console = Console()
    results = run_comparison(comparison, console, shlex.join(["autosim", "compare", *arguments]))
    console.print(results_table(results).rich(f"{results['comparison']} on {results['env']}, means over targets"))
    for sentence in verdict(results):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
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


def blender(arguments: Sequence[str]) -> int:
    """Set Blender up in an environment of its own: autosim blender setup."""
    from autosim.cli import blender as command

    if any(argument in ("-h", "--help") for argument in arguments):
        print(command.HELP, end="")
        return 0
    return command.run_blender(arguments)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "list": list_installed,
    "check": check,
    "run": run,
    "report": report,
    "export": export,
    "compare": compare,
    "tune": tune,
    "blender": blender,
}

if __name__ == "__main__":
    raise SystemExit(main())
