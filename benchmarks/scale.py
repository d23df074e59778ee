"""The data plane at full size: memory, growth and speed of prepare, score, mine, the vector store and a step's batch.

    python -m benchmarks.scale [--quick] [--json FILE] [--only prepare,score,mine,store,batch]

Runs benchmarks/scale_prepare.py, scale_score.py, scale_mine.py, scale_store.py and training_batch.py one after the
other, each in a process of its own (their pages say what is synthetic), prints the figures with the seconds of each
part, and writes them into one file. Keys of the batch begin with batch_.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PARTS = {name: f"scale_{name}" for name in ("prepare", "score", "mine", "store")} | {"batch": "training_batch"}


def run_part(part: str, quick: bool, out: Path) -> dict[str, float]:
    """One part's figures."""
    command = [sys.executable, "-m", f"benchmarks.{PARTS[part]}", "--json", str(out), *(["--quick"] if quick else [])]
    print(f"--- {part}", flush=True)
    start = time.monotonic()
    if subprocess.run(command, cwd=Path(__file__).parents[1]).returncode:
        raise SystemExit(f"error: {part} failed; see above")
    figures: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
    print(f"--- {part} took {time.monotonic() - start:.0f} s", flush=True)
    return figures if part != "batch" else {f"batch_{name}": value for name, value in figures.items()}


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
    print(json.dumps(figures, indent=2))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
