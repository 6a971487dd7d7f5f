"""The command line: one file a command, imported when it is called for."""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

import click
from click.shell_completion import shell_complete

from watcher.cli.lean import import_without_openssl
from watcher.errors import LockwardenError, one_line
from watcher.version import __version__

COMMANDS = {
    "watch": "Watch a workspace: the daemon.",
    "scan": "Look once: a table of locks and findings.",
    "clean": "Remove stale locks, and only those.",
    "status": "Say whether a watcher runs here, and what it sees.",
    "tail": "Read the log as a person.",
    "run": "Hold a worker's lock while a command runs.",
    "lock": "Take, release, check or show one lock.",
    "config": "Check or show the settings.",
    "schema": "Print a JSON Schema.",
}
"""Each command is the `command` of the module `watcher.cli.<its name>`."""

COMPLETE = "_LOCKWARDEN_COMPLETE"
"""The variable by which a shell asks what may come next (click's)."""

FAILED = 4
INTERRUPTED = 130


class Commands(click.Group):
    """Knows every command by name, and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Give the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        import_without_openssl()
        command: click.Command = import_module(f"watcher.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def lockwarden() -> None:
    """Watch the identity locks of AI coding agents, and say at once when one goes wrong.

    Example: lockwarden watch ~/town
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit code: a command returns its own, None is 0.

    0 fine, 1 something to report, 2 usage or config error, 3 no watcher, 4 the job could not be done. What a
    person can put right is one line on stderr. Not click's own `main`: that exits 1 on a closed pipe.
    """
    if instruction := os.environ.get(COMPLETE):
        return shell_complete(lockwarden, {}, "lockwarden", COMPLETE, instruction)
    argv = list(sys.argv[1:] if args is None else args) or ["--help"]
    try:
        with lockwarden.make_context("lockwarden", argv) as context:
            result = lockwarden.invoke(context)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - Python's exit code 1 would say "findings"
        message, code = _explain(error)
        if message:
            print(f"lockwarden: {one_line(message)}", file=sys.stderr)
        return code
    return result if isinstance(result, int) else 0


def _explain(error: BaseException) -> tuple[str, int]:
    """Give the line to print about what ended a command ("" for none), and the exit code."""
    message, code = "", FAILED
    match error:
        case LockwardenError():
            message, code = str(error), error.exit_code
        case click.UsageError():
            message, code = _usage(error), error.exit_code
        case click.ClickException():
            message = error.format_message()
        case KeyboardInterrupt() | click.Abort():
            code = INTERRUPTED
        case BrokenPipeError():
            # The reader has left: without this, Python complains again when it flushes stdout at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        case OSError():
            message = (error.strerror or str(error)).lower() + (f": {error.filename}" if error.filename else "")
        case _:
            traceback.print_exception(error)
            message = "this is a defect of lockwarden: please report the lines above"
    return message, code


def _usage(error: click.UsageError) -> str:
    """Tell click's "No such option: --x" in the words of the other errors, with the way out."""
    message = error.format_message().rstrip(".")
    command = error.ctx.command_path if error.ctx else "lockwarden"
    return f"{message[:1].lower()}{message[1:]}; see `{command} --help`"
