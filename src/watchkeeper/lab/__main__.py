"""Makes `python -m watchkeeper.lab` start the lab; it promises nothing beyond `main`."""

import sys

from watchkeeper.lab.main import main

sys.exit(main())
