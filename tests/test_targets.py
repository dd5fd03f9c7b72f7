"""What is explained: every way in which a caller may write it, and one score for each image."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from camzoo import targets
from camzoo.errors import RequestError
from camzoo.targets import ClassLogit, TopClass

OUTPUTS = torch.tensor([[0.1, 3.0, -1.0, 2.0], [5.0, 4.0, 6.0, -2.0], [0.0, -3.0, -1.0, -2.0]])


@dataclass
class Output:
    logits: object


class TestSelect:
    @pytest.mark.parametrize(
        "wrapped",
        [
            OUTPUTS,
            (OUTPUTS, "features"),
            [OUTPUTS],
            {"logits": OUTPUTS, "out": None},
            {"out": OUTPUTS, "aux": torch.zeros(1)},
            Output(OUTPUTS),
            SimpleNamespace(out=OUTPUTS),
            ({"logits": (OUTPUTS,)},),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_finds_the_scores(self, wrapped):
        assert targets.select(wrapped) is OUTPUTS

    @pytest.mark.parametrize("wrapped", [None, (), {}, "logits", 3, {"scores": OUTPUTS}, Output(None)], ids=repr)
    def test_says_that_there_are_none(self, wrapped):
        with pytest.raises(RequestError, match="no tensor of scores"):
            targets.select(wrapped)


class TestClassLogit:
    @pytest.mark.parametrize("classes", [(1, 2, 3), (2, 2, 2), (0, 0, 3)])
    def test_picks_one_logit_for_each_image(self, classes):
        found = ClassLogit(classes)(OUTPUTS)
        assert found.tolist() == [float(OUTPUTS[image, index]) for image, index in enumerate(classes)]

    @pytest.mark.parametrize("classes", [(1, 2, 3), (2, 2, 2)])
    def test_its_derivative_is_one_at_the_class(self, classes):
        outputs = OUTPUTS.clone().requires_grad_()
        (slope,) = torch.autograd.grad(ClassLogit(classes)(outputs).sum(), outputs)
        assert torch.equal(slope, torch.nn.functional.one_hot(torch.tensor(classes), 4).float())

    @pytest.mark.parametrize(("classes", "bad"), [((4, 0, 0), 4), ((0, 0, -1), -1), ((1000, 1000, 1000), 1000)])
    def test_refuses_a_class_out_of_range(self, classes, bad):
        with pytest.raises(RequestError, match=f"class {bad} is out of range: the model has 4 classes, 0 to 3"):
            ClassLogit(classes)(OUTPUTS)

    @pytest.mark.parametrize("shape", [(3,), (3, 4, 2, 2), ()])
    def test_refuses_outputs_that_are_no_rows_of_scores(self, shape):
        with pytest.raises(RequestError, match="pass a callable target"):
            ClassLogit((0,))(torch.zeros(shape))

    def test_names_the_classes(self):
        assert str(ClassLogit((3, 1, 3))) == "logit of class 1, 3"


class TestTopClass:
    def test_ranks_each_image(self):
        ranked = [TopClass(rank).indices(OUTPUTS).tolist() for rank in range(4)]
        wanted = OUTPUTS.argsort(1, descending=True).T.tolist()
        assert ranked == wanted

    def test_gives_the_logits(self):
        assert TopClass()(OUTPUTS).tolist() == [3.0, 6.0, 0.0]
        assert TopClass(1)(OUTPUTS).tolist() == [2.0, 5.0, -1.0]

    @pytest.mark.parametrize("rank", [4, -1])
    def test_refuses_a_rank_out_of_range(self, rank):
        with pytest.raises(RequestError, match=f"rank {rank} is out of range: the model has 4 classes"):
            TopClass(rank)(OUTPUTS)

    def test_says_what_it_is(self):
        assert str(TopClass()) == "logit of the top class"
        assert str(TopClass(2)) == "logit of the class ranked 3"


class TestExplained:
    def test_passes_one_score_for_each_image(self):
        assert targets.explained(ClassLogit((1, 2, 3)), OUTPUTS, 3).tolist() == [3.0, 6.0, -2.0]

    @pytest.mark.parametrize(
        ("target", "found"),
        [
            (lambda outputs: outputs, r"\(3, 4\)"),
            (lambda outputs: outputs.sum(), r"\(\)"),
            (lambda outputs: outputs[:1, 0], r"\(1,\)"),
            (lambda outputs: outputs[:, :1], r"\(3, 1\)"),
            (lambda outputs: 3.0, "a float"),
            (lambda outputs: None, "a NoneType"),
        ],
    )
    def test_refuses_anything_else(self, target, found):
        with pytest.raises(RequestError, match=rf"one score for each image, \(3,\).* gives {found}$"):
            targets.explained(target, OUTPUTS, 3)


def test_settled_decides_the_top_class_and_leaves_the_rest():
    assert targets.settled(TopClass(), OUTPUTS) == ClassLogit((1, 2, 0))
    assert targets.settled(TopClass(1), OUTPUTS) == ClassLogit((3, 0, 2))
    for target in (ClassLogit((0, 0, 0)), len):
        assert targets.settled(target, OUTPUTS) is target


def test_row_of_keeps_the_class_of_one_image():
    assert targets.row_of(ClassLogit((3, 1, 2)), 1) == ClassLogit((1,))
    assert targets.row_of(len, 1) is len


class TestResolve:
    @pytest.mark.parametrize(
        ("written", "wanted"),
        [
            (None, TopClass()),
            (2, ClassLogit((2, 2, 2))),
            (np.int64(2), ClassLogit((2, 2, 2))),
            (torch.tensor(2), ClassLogit((2, 2, 2))),
            ([1, 2, 3], ClassLogit((1, 2, 3))),
            ((1, 2, 3), ClassLogit((1, 2, 3))),
            (range(3), ClassLogit((0, 1, 2))),
            (torch.tensor([1, 2, 3]), ClassLogit((1, 2, 3))),
            (np.array([1, 2, 3]), ClassLogit((1, 2, 3))),
            ([np.int64(1), 2, np.uint8(3)], ClassLogit((1, 2, 3))),
            (ClassLogit((9, 9, 9)), ClassLogit((9, 9, 9))),
        ],
        ids=repr,
    )
    def test_reads(self, written, wanted):
        found = targets.resolve(written, 3)
        assert found == wanted
        if isinstance(found, ClassLogit):
            assert all(type(index) is int for index in found.classes)

    def test_takes_any_callable(self):
        def callback(outputs):
            return outputs[:, 0]

        assert targets.resolve(callback, 3) is callback

    @pytest.mark.parametrize(
        "written",
        [
            *(True, 1.0, "cat", "3", frozenset()),
            *(torch.tensor(1.5), torch.tensor(True), np.array([0.5, 1, 2])),
            *([True, 0, 1], [1.0, 2, 3], [[1], [2], [3]], ["a", "b", "c"], {1, 2, 3}),
        ],
        ids=str,
    )
    def test_refuses_another_form(self, written):
        with pytest.raises(RequestError, match="class index"):
            targets.resolve(written, 3)

    @pytest.mark.parametrize("written", [[], [1, 2], [1, 2, 3, 4], torch.tensor([1])])
    def test_refuses_another_number(self, written):
        with pytest.raises(RequestError, match=f"{len(written)} targets for 3 images: give one for each"):
            targets.resolve(written, 3)

    def test_says_one_image(self):
        with pytest.raises(RequestError, match="2 targets for 1 image: "):
            targets.resolve([1, 2], 1)


class TestRounds:
    @pytest.mark.parametrize(
        ("written", "wanted"),
        [
            (None, [TopClass()]),
            (7, [ClassLogit((7, 7))]),
            ([7, 8], [ClassLogit((7, 8))]),
            ("top1", [TopClass(0)]),
            ("TOP3", [TopClass(0), TopClass(1), TopClass(2)]),
            ([[281, 282], [285, 287]], [ClassLogit((281, 285)), ClassLogit((282, 287))]),
            ([(1,), (2,)], [ClassLogit((1, 2))]),
        ],
        ids=repr,
    )
    def test_reads(self, written, wanted):
        assert targets.rounds(written, 2) == wanted

    @pytest.mark.parametrize("written", ["top", "top0", "top-1", "topmost", "bottom3", ""])
    def test_refuses_other_words(self, written):
        with pytest.raises(RequestError, match="class index"):
            targets.rounds(written, 2)

    @pytest.mark.parametrize("written", [[[1, 2]], [[1, 2], [3]], [[], []], [[1], [2], [3]]], ids=repr)
    def test_refuses_lists_that_do_not_fit(self, written):
        with pytest.raises(RequestError, match="one list for each of the 2 images, all as long"):
            targets.rounds(written, 2)
