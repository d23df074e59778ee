"""Documents that are no negatives, by the loss without them."""

import pytest
import torch

from components.training.masks import mask_by_guide
from tests.training.batch_of_two import contrast, cross_entropy, targets


@pytest.mark.parametrize("known", ["relevant", "equal"])
def test_known_relevant_and_equal_documents_are_no_negatives_but_the_positive_stays(known):
    found = contrast(targets(**{known: [(0, 3), (0, 0)]}))
    assert found == pytest.approx(cross_entropy([[0, 1, 2], [0, 1, 2, 3]]))


def test_a_document_of_another_label_is_masked_by_the_margin_and_not_by_the_guide():
    margin = {"margin": -0.2}  # masks what scores above 0.7 and 0.6
    for known in ((), ((0, 3), (1, 3))):
        assert contrast(targets(other=known), **margin) == pytest.approx(cross_entropy([[0, 1, 2], [0, 1, 2]]))
    guide = torch.tensor([[0.5, 0.1, 0.1, 0.9], [0.1, 0.5, 0.9, 0.1]])
    assert mask_by_guide(guide, targets(other=[(0, 3)]), 0.0).tolist() == [[False] * 4, [False, False, True, False]]


def test_without_in_batch_negatives_only_the_own_group_counts():
    assert contrast(targets(), in_batch=False) == pytest.approx(cross_entropy([[0, 2, 3], [1, 3]]))
    alone = targets(group=((0, 2), (1, -1)))
    assert contrast(alone, in_batch=False) == pytest.approx(cross_entropy([[0, 2], [1]]))


def test_likely_false_negatives_are_masked():
    assert contrast(targets(), margin=0.01) == pytest.approx(cross_entropy([[0, 1, 2], [0, 1, 2, 3]]))


def test_a_guide_masks_what_it_finds_as_relevant_as_the_positive():
    guide = torch.tensor([[0.8, 0.1, 0.85, 0.3], [0.2, 0.9, 0.1, 0.86]], dtype=torch.float64)
    assert mask_by_guide(guide, targets(), 0.0).nonzero().tolist() == [[0, 2]]
    assert mask_by_guide(guide, targets(), 0.05).nonzero().tolist() == [[0, 2], [1, 3]]
