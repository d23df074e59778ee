"""Are our Borda ranks mteb's? Every rank of the shipped public table against mteb's own function.

python -m benchmarks.borda [--quick] [--json FILE]     (--quick changes nothing: it takes seconds)
"""

import argparse
import json
from importlib.metadata import version
from pathlib import Path

from components.evaluation.standing import public_scores, public_standing
from components.statistics.borda import borda_ranks

MODEL, PUBLISHED = "annamodels/LGAI-Embedding-Preview", (74.12, 68.40, 6)  # mteb's leaderboard, 2026-08-20


def main() -> None:
    """Compare, print, write the JSON; exits with 1 when a rank differs."""
    from mteb.benchmarks._create_table import _borda_rank_from_long

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    table = public_scores()
    ours = borda_ranks(table)
    frame = _borda_rank_from_long(table.rename({"model": "model_name", "task": "task_name"}))
    theirs = dict(frame.select("model_name", "Rank (Borda)").iter_rows())
    differing = sum(ours.get(model) != rank for model, rank in theirs.items()) + len(set(ours) - set(theirs))
    place = public_standing(MODEL)
    found = (round(100 * place.mean_task, 2), round(100 * place.mean_type, 2), place.borda_rank)
    print(f"{differing} of {len(theirs)} ranks differ from mteb {version('mteb')}'s _borda_rank_from_long")
    print(f"{MODEL}: mean(task), mean(type), Borda rank: ours {found}, published {PUBLISHED}")
    if given.json:
        figures = {
            "ranks_differing": differing,
            "models": len(theirs),
            "lgai_mean_task": found[0],
            "lgai_mean_type": found[1],
            "lgai_borda_rank": found[2],
        }
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    raise SystemExit(int(differing > 0 or found != PUBLISHED))


if __name__ == "__main__":
    main()
