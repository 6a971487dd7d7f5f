"""`python -m watcher` is `lockwarden`."""

import sys

from watcher.cli import main

sys.exit(main())
