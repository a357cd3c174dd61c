"""`python -m safety_supervisor` is `safety-supervisor`."""

import sys

from safety_supervisor.cli import main

sys.exit(main())
