"""`python -m mullover` is `mull`."""

from mullover.cli import main

raise SystemExit(main())
