"""python -m collapse_lab is collapse-lab; what torchrun starts."""

from collapse_lab.cli.app import main

main()
