"""`python -m components.stage NAME`."""

import sys

from components.stage.run import main

sys.exit(main(sys.argv[1:]))
