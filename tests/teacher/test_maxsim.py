"""Late interaction equals the double loop."""

import numpy as np

from components.teacher.maxsim import maxsim


def test_equals_the_double_loop() -> None:
    random = np.random.default_rng(0)
    queries = [random.standard_normal((n, 8)).astype(np.float32) for n in (3, 1, 5)]
    document = random.standard_normal((7, 8)).astype(np.float32)
    expected = [np.mean([max(float(q @ d) for d in document) for q in query]) for query in queries]
    np.testing.assert_allclose(maxsim(queries, document), expected, rtol=1e-5)
