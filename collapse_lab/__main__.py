"""python -m collapse_lab is collapse-lab; what torchrun starts."""

from collapse_lab.cli.app import main

if __name__ == "__main__":
    main()
