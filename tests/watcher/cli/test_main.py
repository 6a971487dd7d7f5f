import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import click
import pytest

from watcher.cli import COMMANDS, lockwarden, main
from watcher.errors import JobError, UsageError
from watcher.version import __version__


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Give a function that puts another body under the name of a command."""

    def put(body: Callable[[], object]) -> None:
        command = click.Command("scan", callback=body)
        monkeypatch.setitem(sys.modules, "watcher.cli.scan", SimpleNamespace(command=command))

    return put


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` names the program and its version."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lockwarden {__version__}\n"


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments, and with `--help`, every command is listed."""
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert main([]) == 0
    assert capsys.readouterr().out == out
    assert all(f"  {name} " in out for name in COMMANDS)


def commands(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    """List a command, and all below it, each by the words that call it."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, *path, name)


EXAMPLE = re.compile(r"^  Example: (lockwarden [^\n]+)\n", re.MULTILINE)


@pytest.mark.parametrize("path", [*commands(lockwarden)], ids=" ".join)
def test_the_help_of_each_command_has_an_example(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """One line of a shell, with a command and options that there are; what a command gives is in its exit codes."""
    assert main([*path, "--help"]) == 0
    [example] = EXAMPLE.findall(capsys.readouterr().out)
    words = shlex.split(re.split(r" (?:&&|\|\||>) ", example)[0])
    assert words[1 : 1 + len(path)] == list(path)
    command: click.Command = lockwarden
    context = click.Context(lockwarden)
    while isinstance(command, click.Group) and words[1:]:
        below = command.get_command(context, words.pop(1))
        assert below is not None
        command = below
    command.make_parser(click.Context(command)).parse_args(words[1:])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As the README has it: the script for a shell, and then the commands that begin as what was typed."""
    monkeypatch.setenv("_LOCKWARDEN_COMPLETE", f"{shell}_source")
    assert main([]) == 0
    assert "_LOCKWARDEN_COMPLETE" in capsys.readouterr().out
    monkeypatch.setenv("_LOCKWARDEN_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", "lockwarden st" if shell != "fish" else "lockwarden")
    monkeypatch.setenv("COMP_CWORD", "1" if shell != "fish" else "st")
    assert main([]) == 0
    assert "status" in capsys.readouterr().out


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_import_no_command(argument: str) -> None:
    """The process starts fast because it loads only what it needs."""
    code = f"import sys; from watcher.cli import main; main(['{argument}']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert {name for name in loaded if name.startswith("watcher")} == {
        "watcher",
        "watcher.cli",
        "watcher.cli.lean",
        "watcher.errors",
        "watcher.version",
    }
    assert not loaded & {"asyncio", "msgspec", "psutil", "structlog", "rich", "watchdog"}


def test_the_daemon_does_without_openssl_and_a_later_import_has_it() -> None:
    """The 5 MB of OpenSSL are loaded only where something speaks TLS; hashes are the same."""
    code = (
        "import sys; from watcher.cli import lockwarden; lockwarden.get_command(None, 'watch'); "
        "print(sorted({'_ssl', '_hashlib', 'importlib.metadata'} & set(sys.modules))); "
        "import hashlib, ssl; print(hashlib.sha256(b'').hexdigest()[:8], ssl.create_default_context().verify_mode.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "e3b0c442 CERT_REQUIRED"]


@pytest.mark.parametrize(("given", "code"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_a_command_gives_its_exit_code(
    given: int | None, code: int, scan: Callable[[Callable[[], object]], None]
) -> None:
    """What a command returns is the exit code; nothing is 0."""
    scan(lambda: given)
    assert main(["scan"]) == code


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("config: no"), 2, "lockwarden: config: no\n"),
        (JobError("workspace: a\nb\x1b: no"), 4, "lockwarden: workspace: a\\nb\\x1b: no\n"),
        (OSError(28, "No space left on device", "/x"), 4, "lockwarden: no space left on device: /x\n"),
        (click.ClickException("no"), 4, "lockwarden: no\n"),
        (KeyboardInterrupt(), 130, ""),
        (click.exceptions.Exit(3), 3, ""),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException,
    code: int,
    said: str,
    scan: Callable[[Callable[[], object]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a person can put right is told in one line on stderr, without a traceback."""

    def fail() -> None:
        raise error

    scan(fail)
    assert main(["scan"]) == code
    assert capsys.readouterr() == ("", said)


def test_a_defect_is_no_finding(
    scan: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A defect shows its traceback, and does not exit 1, which says that something was found."""
    scan(lambda: 1 // 0)
    assert main(["scan"]) == 4
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err
    assert err.endswith("lockwarden: this is a defect of lockwarden: please report the lines above\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["wacth"], "no such command 'wacth'; see `lockwarden --help`"),
        (["config"], "missing command; see `lockwarden config --help`"),
        (["schema", "log"], "; see `lockwarden schema --help`"),
        (["config", "check", "--frob"], "; see `lockwarden config check --help`"),
    ],
)
def test_a_usage_error_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What click finds wrong is told as everything else, with the command whose help tells more; exit 2."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("lockwarden: ")
    assert err.endswith(f"{said}\n")
    assert err.count("\n") == 1


def test_a_reader_that_leaves_is_no_finding() -> None:
    """A closed pipe ends the process quietly, and not with 1."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "watcher", "config", "show", "--config", os.devnull],
            stdout=pipe,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (4, b"")
