from pathlib import Path

import pytest

from watcher.errors import UsageError
from watcher.settings import load


def refusal(config: Path, text: str) -> str:
    """Give what is said of a config file, without the file's path."""
    config.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load({}, {}, str(config))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(config), "FILE")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[rules.orphan]\n\nhold = "soon"',
            'rules.orphan.hold: expected a duration such as "0.5s", got "soon" (FILE line 3)',
        ),
        ("rules.orphan.hold = -1", "rules.orphan.hold: expected at least 0s, got -1 (FILE line 1)"),
        ("rules.orphan.hold = true", 'rules.orphan.hold: expected a duration such as "0.5s", got true (FILE line 1)'),
        ("rules.orphan.hold = nan", 'rules.orphan.hold: expected a duration such as "0.5s", got nan (FILE line 1)'),
        ("rules.orphan.hold = inf", "rules.orphan.hold: expected at most 366d, got inf (FILE line 1)"),
        ('observe.poll = "1ms"', 'observe.poll: expected at least 50ms, got "1ms" (FILE line 1)'),
        ("observe.max_depth = -1", "observe.max_depth: expected at least 0, got -1 (FILE line 1)"),
        ("observe.max_depth = 1.5", "observe.max_depth: expected a whole number, got 1.5 (FILE line 1)"),
        (
            'log.format = "xml"',
            'log.format: expected one of auto, json, console, logfmt, ecs, got "xml" (FILE line 1)',
        ),
        ('log.quiet = "yes"', 'log.quiet: expected true or false, got "yes" (FILE line 1)'),
        (
            'observe.skip_dirs = "out"',
            'observe.skip_dirs: expected a list, each a name without "/", got "out" (FILE line 1)',
        ),
        (
            'observe.skip_dirs = [\n  "a",\n  "b/c",\n]',
            'observe.skip_dirs: expected a list, each a name without "/", got ["a", "b/c"] (FILE line 1)',
        ),
        ("log.file = 3", "log.file: expected a path, got 3 (FILE line 1)"),
        ('log.file = "a\\u0000b"', 'log.file: expected a path, got "a\\u0000b" (FILE line 1)'),
        ("metrics.listen = 70000", 'metrics.listen: expected "[HOST:]PORT" such as "9100", got 70000 (FILE line 1)'),
        (
            'otlp.endpoint = "localhost:4318"',
            'otlp.endpoint: expected a URL such as "http://localhost:9093", or "", got "localhost:4318" (FILE line 1)',
        ),
        ("log = 3", "log: expected a table, got 3 (FILE line 1)"),
        ("log.file = {a = 1}", 'log.file: expected a path, got {"a" = 1} (FILE line 1)'),
        ("[[log]]", "log: expected a table, got [{}] (FILE line 1)"),
        ("#\n[rules.stale]\nholt = 1", "rules.stale.holt: unknown key; did you mean rules.stale.hold? (FILE line 3)"),
        ("orphan-hold = 1", "orphan-hold: unknown key; did you mean rules.orphan.hold? (FILE line 1)"),
        ("[rule.stale]", "rule: unknown key; did you mean rules? (FILE line 1)"),
        ("qqq = 1", "qqq: unknown key; `lockwarden config show` lists them all (FILE line 1)"),
        ('"log.quiet" = true', '"log.quiet": unknown key; did you mean log.quiet? (FILE line 1)'),
        ("[log]\nfile = \n", "invalid value (FILE line 2 column 8)"),
        ("log.quiet = true\nlog.quiet = true\n", "cannot overwrite a value (FILE line 2 column 17)"),
        ("log.file =", "invalid value (FILE end of document)"),
        ("a = " + "[" * 5000, "nested too deeply (FILE)"),
        (f"log.file = {'9' * 200}", f"log.file: expected a path, got {'9' * 80}... (FILE line 1)"),
    ],
)
def test_a_wrong_file_is_refused(text: str, said: str, config: Path) -> None:
    """The error names the key, what was expected, what was found, the file and the line."""
    assert refusal(config, text) == f"config: {said}"


def test_a_file_that_is_not_utf8_is_refused(config: Path) -> None:
    """Bytes that are no text are refused with their line."""
    config.write_bytes(b"# fine\nlog.file = '\xff'\n")
    with pytest.raises(UsageError, match=r"^config: not UTF-8 \(.* line 2\)$"):
        load({}, {}, str(config))


def test_a_file_without_end_is_refused() -> None:
    """Reading a config file is bounded."""
    with pytest.raises(UsageError, match=r"^config: more than 1048576 bytes \(/dev/zero\)$"):
        load({}, {}, "/dev/zero")


def test_a_named_file_must_be_there(config: Path) -> None:
    """A config file that was named and is not there is an error, by whichever way it was named."""
    for overrides in ((str(config), {}), ("", {"LOCKWARDEN_CONFIG": str(config)})):
        with pytest.raises(UsageError, match=rf"^config: cannot be read: no such file or directory \({config}\)$"):
            load({}, overrides[1], overrides[0])


@pytest.mark.parametrize(
    ("variable", "raw", "said"),
    [
        ("LOCKWARDEN_LOG_QUIET", "maybe", 'expected true or false, got "maybe"'),
        ("LOCKWARDEN_RULES_ORPHAN_HOLD", "soon", 'expected a duration such as "0.5s", got "soon"'),
        ("LOCKWARDEN_OBSERVE_MAX_DEPTH", "deep", 'expected a whole number, got "deep"'),
        ("LOCKWARDEN_OBSERVE_MAX_DEPTH", "9" * 30, f'expected at most 10000, got "{"9" * 30}"'),
        ("LOCKWARDEN_OBSERVE_SKIP_DIRS", "a,b/c", 'expected a list, each a name without "/", got "a,b/c"'),
    ],
)
def test_a_wrong_variable_is_refused(variable: str, raw: str, said: str) -> None:
    """The error names the variable, what was expected and what was found."""
    with pytest.raises(UsageError) as caught:
        load({}, {variable: raw})
    assert str(caught.value) == f"environment: {variable}: {said}"


def test_a_wrong_option_is_refused() -> None:
    """The error names the option."""
    with pytest.raises(UsageError) as caught:
        load({"rules.orphan.hold": "-1s"}, {})
    assert str(caught.value) == '--orphan-hold: expected a duration such as "0.5s", got "-1s"'
