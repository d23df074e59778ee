"""Compare two evaluation folders: `python -m components.promotion CANDIDATE CHAMPION [--again DIR] [--out DIR]`."""

import argparse
import sys
from pathlib import Path

from components.base.errors import UserError
from components.promotion.gate import GateParams, gate_folders
from components.promotion.page import write_verdict


def main(arguments: list[str]) -> int:
    """Command line; returns 0 for promote, 3 for hold, 1 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m components.promotion", description=__doc__.splitlines()[0])
    parser.add_argument("candidate", type=Path, help="evaluation folder of the candidate")
    parser.add_argument("champion", type=Path, help="evaluation folder of the champion (may be the same)")
    parser.add_argument("--candidate-model", default="trained", help="its name in the tables (default: trained)")
    parser.add_argument("--champion-model", default="trained", help="its name in the tables (default: trained)")
    parser.add_argument("--again", type=Path, help="the candidate evaluated again with another batch size (A/A)")
    parser.add_argument("--out", type=Path, help="write gate.json and gate.html here")
    parser.add_argument("--margin", type=float, default=0.5, help="points a task may drop above its noise floor (0.5)")
    parser.add_argument("--gain", type=float, default=0.0, help="points that the lower bound must exceed (0)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        verdict = gate_folders(
            given.candidate,
            given.champion,
            again=given.again,
            models=(given.candidate_model, given.champion_model),
            params=GateParams(seed=given.seed, minimum_gain=given.gain / 100, regression_margin=given.margin / 100),
        )
        if given.out:
            write_verdict(verdict, given.out)
    except UserError as problem:
        print(f"error: gate: {problem}", file=sys.stderr)
        return 1
    print(verdict.to_json(), end="")
    return 0 if verdict.promote else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
