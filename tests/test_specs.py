"""Names of computations are read as they are written, or refused in words."""

from __future__ import annotations

import pytest
from conftest import require

from camzoo import backends, specs
from camzoo.errors import RequestError
from camzoo.specs import Computation
from camzoo.types import Backend, Offer, Stage

OPTIONS = ("a", "b", "c", "alpha", "top_channels")


def fake(name: str, *methods: str) -> Backend:
    offers = tuple(Offer(method, method, Stage.RAW, options=OPTIONS) for method in methods)
    return Backend(name, name, offers, lambda *_: None)


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch):
    """Three backends with known offers, so that the lists below stay as they are."""
    three = {
        "camzoo": fake("camzoo", "gradcam", "layercam"),
        "left": fake("left", "gradcam", "scorecam"),
        "right-hand": fake("right-hand", "gradcam", "layercam", "gradcam++"),
    }
    monkeypatch.setattr(backends, "found", lambda: three)
    monkeypatch.setattr(backends, "_loaded", dict)


class TestParse:
    def test_an_option_that_nobody_has_is_a_slip(self):
        with pytest.raises(RequestError, match="unknown option of scorecam 'top_chanels': did you mean top_channels"):
            specs.parse("scorecam(top_chanels=64)@left")

    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            ("gradcam", ("gradcam", "camzoo", {})),
            (" gradcam @ left ", ("gradcam", "left", {})),
            ("gradcam++@right-hand", ("gradcam++", "right-hand", {})),
            ("scorecam()", ("scorecam", "camzoo", {})),
            ("scorecam(top_channels=64)@left", ("scorecam", "left", {"top_channels": 64})),
            ("scorecam( a = -1.5 , b=[1, 2], c=None )", ("scorecam", "camzoo", {"a": -1.5, "b": [1, 2], "c": None})),
            ("scorecam(alpha=authors)", ("scorecam", "camzoo", {"alpha": "authors"})),
            ("scorecam(a=true, b=false, c=True)", ("scorecam", "camzoo", {"a": True, "b": False, "c": True})),
            ("scorecam(a='x@y, (z')@left", ("scorecam", "left", {"a": "x@y, (z"})),
            ("scorecam(a='x@y')", ("scorecam", "camzoo", {"a": "x@y"})),
        ],
    )
    def test_reads(self, text, wanted):
        found = specs.parse(text)
        assert (found.method, found.backend, dict(found.options)) == wanted

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("gradcan", "unknown method 'gradcan': did you mean gradcam"),
            ("gradcam@lefd", "unknown backend 'lefd': did you mean left"),
            ("gradcam@", "unknown backend ''"),
            ("@left", "unknown method ''"),
            ("", "unknown method ''"),
            ("gradcam@left@right-hand", "unknown backend 'left@right-hand'"),
        ],
    )
    def test_names_what_is_close(self, text, message):
        with pytest.raises(RequestError, match=message):
            specs.parse(text)

    @pytest.mark.parametrize(
        "text",
        [
            "scorecam(",
            "scorecam(64)",
            "scorecam(a=1",
            "scorecam(a=1)b",
            "scorecam(a=)",
            "scorecam(a=b.c)",
            "scorecam(a=f())",
            "scorecam(a=[1, b])",
            "scorecam(a=1)(b=2)",
            "scorecam(**a)",
            "scorecam(*a)",
            "scorecam(a=1, a=2)",
            "scorecam(a={[]: 1})",
            "scorecam(a=__import__('os'))",
            "scorecam(a=1).b(c=2)",
            "scorecam(a=\x00)",
        ],
    )
    def test_refuses_what_is_no_list_of_options(self, text):
        with pytest.raises(RequestError, match="options are written as in"):
            specs.parse(text)

    @pytest.mark.parametrize(
        "text", ["gradcam", "gradcam@left", "scorecam(a=1, b='x')@left", "scorecam(c=[1, 'y'])", "gradcam++@right-hand"]
    )
    def test_its_text_is_read_as_the_same(self, text):
        once = specs.parse(text)
        assert str(once) == text
        assert specs.parse(str(once)) == once


class TestExpand:
    @pytest.mark.parametrize(
        ("wanted", "names"),
        [
            ("gradcam", ["gradcam"]),
            ("gradcam, layercam@left", ["gradcam", "layercam@left"]),
            (["gradcam,layercam", "scorecam@left"], ["gradcam", "layercam", "scorecam@left"]),
            ("gradcam@camzoo,gradcam, gradcam", ["gradcam"]),
            ("*", ["gradcam", "layercam"]),
            ("*@left", ["gradcam@left", "scorecam@left"]),
            ("gradcam@*", ["gradcam", "gradcam@left", "gradcam@right-hand"]),
            ("gradcam++@*", ["gradcam++@right-hand"]),
            ("layercam,*@left,layercam@*", ["layercam", "gradcam@left", "scorecam@left", "layercam@right-hand"]),
            ("scorecam(a=1, b=[2, 3])@left,gradcam", ["scorecam(a=1, b=[2, 3])@left", "gradcam"]),
            ("scorecam(a='x,y')", ["scorecam(a='x,y')"]),
            ("scorecam(a=1),scorecam(a=2)", ["scorecam(a=1)", "scorecam(a=2)"]),
            ("gradcam(a=1)@*", ["gradcam(a=1)", "gradcam(a=1)@left", "gradcam(a=1)@right-hand"]),
        ],
    )
    def test_names(self, wanted, names):
        assert [str(each) for each in specs.expand(wanted)] == names

    def test_everything(self):
        found = [str(each) for each in specs.expand("*@*")]
        assert found == [
            *("gradcam", "layercam"),
            *("gradcam@left", "scorecam@left"),
            *("gradcam@right-hand", "layercam@right-hand", "gradcam++@right-hand"),
        ]

    @pytest.mark.parametrize("wanted", ["", " , ", [], [""]])
    def test_refuses_nothing(self, wanted):
        with pytest.raises(RequestError, match="no method is named"):
            specs.expand(wanted)

    @pytest.mark.parametrize("wanted", ["grad*", "*cam@left", "gradcam@l*", "*@l*", "**@left"])
    def test_a_star_stands_for_a_whole_name(self, wanted):
        with pytest.raises(RequestError, match="a star stands for a whole name"):
            specs.expand(wanted)

    @pytest.mark.parametrize("wanted", ["*@", "*@nobody", "nothing@*"])
    def test_refuses_unknown_names(self, wanted):
        with pytest.raises(RequestError, match="unknown"):
            specs.expand(wanted)


def test_a_computation_is_camzoos_own_unless_said():
    assert str(Computation("gradcam")) == "gradcam"
    assert str(Computation("gradcam", "left", {"a": "b"})) == "gradcam(a='b')@left"


def test_every_real_offer_can_be_named(monkeypatch):
    """The names of all backends survive being written and read."""
    require("torchcam")
    monkeypatch.undo()
    every = specs.expand("*@*")
    assert len(every) > 20
    assert specs.expand(",".join(map(str, every))) == every
