"""`python -m tests.bench.readme FIGURES.json`: keep the figures of a run, and put their table into the README."""

import json
import sys
from pathlib import Path

from tests.bench.figures import Figure, as_table

HERE = Path(__file__).parent
KEPT = HERE / "figures.json"
README = HERE.parents[1] / "README.md"
_BEGIN, _END = "<!-- figures of make bench -->\n", "<!-- end of figures -->\n"


def main() -> None:
    """Keep the figures of the file that is named, and show them."""
    KEPT.write_text(Path(sys.argv[1]).read_text())
    before, _, after = _parts()
    README.write_text(before + _BEGIN + section() + _END + after)


def section() -> str:
    """Give what the README says of the figures that are kept."""
    kept = json.loads(KEPT.read_text())
    table = as_table(Figure(**figure) for figure in kept["figures"])
    return f"`make bench`, one run, on {kept['machine']}:\n\n{table}\n"


def shown() -> str:
    """Give what the README says now."""
    return _parts()[1]


def _parts() -> tuple[str, str, str]:
    before, _, rest = README.read_text().partition(_BEGIN)
    inside, _, after = rest.partition(_END)
    return before, inside, after


if __name__ == "__main__":
    main()
