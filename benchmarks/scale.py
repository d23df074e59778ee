"""The data plane at full size: memory, growth and speed of prepare, score, mine and the vector store.

    python -m benchmarks.scale [--quick] [--json FILE] [--only prepare,score,mine,store]

Runs benchmarks/scale_prepare.py, scale_score.py, scale_mine.py and scale_store.py one after the other, each in a
process of its own (their pages say what is synthetic), and writes their figures into one file.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PARTS = ("prepare", "score", "mine", "store")


def run_part(part: str, quick: bool, out: Path) -> dict[str, float]:
    """One part's figures."""
    command = [sys.executable, "-m", f"benchmarks.scale_{part}", "--json", str(out), *(["--quick"] if quick else [])]
    print(f"--- {part}", flush=True)
    if subprocess.run(command, cwd=Path(__file__).parents[1]).returncode:
        raise SystemExit(f"error: {part} failed; see above")
    figures: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
    return figures


def main() -> None:
    """Run the parts and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, or less")
    parser.add_argument("--json", type=Path, help="write the figures to FILE")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    given = parser.parse_args()
    unknown = sorted(set(given.only.split(",")) - set(PARTS))
    if unknown:
        parser.error(f"--only: {unknown[0]!r}; must be of {', '.join(PARTS)}")
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for part in given.only.split(","):
            figures |= run_part(part, given.quick, Path(name) / f"{part}.json")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
