"""`python -m benchmarks [--quick] [--json FOLDER]`: every file, one after the other, each in a process of its own."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """0 when every file could be measured; whether its claims hold is for its table to say."""
    parser = argparse.ArgumentParser(description="Measure all claims.")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, the same sizes")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="also write NAME.json for every file there")
    options = parser.parse_args()
    failed = []
    for name in sorted(file.stem for file in HERE.glob("*.py") if file.stem != "claims" and file.stem[0] != "_"):
        print(f"\n{name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if options.quick else [])]
        if options.json:
            command += ["--json", str(options.json / f"{name}.json")]
        if subprocess.run(command, check=False, cwd=HERE.parent).returncode:
            failed.append(name)
    if failed:
        print(f"could not be measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
