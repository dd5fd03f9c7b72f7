"""Backends are found by entry point, asked under guard, and say no in words of their own."""

from __future__ import annotations

import sys
import threading
from importlib import metadata
from types import ModuleType

import pytest
import torch
from conftest import SmallNet, seeded
from snapshots import snapshot

from camzoo import backends, capture, native, problems
from camzoo.errors import Failed, NotInstalled, NotOffered, RequestError
from camzoo.targets import TopClass
from camzoo.types import Backend, Heatmap, Offer, Resolution, Stage, Status


def zeros(problem, method, options) -> Heatmap:
    values = torch.zeros(len(problem.images), *problem.layout.shape)
    return Heatmap(values, Stage.RAW, Resolution.LAYER, problem.image_size, method, "fake")


def fake(explain=zeros, name: str = "fake", distribution: str = "camzoo") -> Backend:
    offers = (Offer("gradcam", "Fake", Stage.RAW, options=("size", "shape")), Offer("magic", "Magic", Stage.RECTIFIED))
    return Backend(name, distribution, offers, explain)


@pytest.fixture
def problem(small_net, images):
    return problems.pose(small_net, images, "last", 2, seed=11)


@pytest.fixture
def plug_in(monkeypatch):
    """Puts objects in the place of the entry points; the caches are as empty afterwards as before."""

    def put(**objects: object) -> None:
        module = ModuleType("some_plug_in")
        entries = [metadata.EntryPoint(name, f"some_plug_in:{name}", backends.GROUP) for name in objects]
        for name, value in objects.items():
            if not isinstance(value, Exception):
                setattr(module, name, value)
        broken = {name: value for name, value in objects.items() if isinstance(value, Exception)}

        def load(entry):
            if entry.name in broken:
                raise broken[entry.name]
            return getattr(module, entry.name)

        monkeypatch.setattr(metadata.EntryPoint, "load", load)
        monkeypatch.setattr(metadata, "entry_points", lambda *, group: entries if group == backends.GROUP else ())
        forget()

    def forget() -> None:
        backends.found.cache_clear()
        backends._loaded.cache_clear()

    yield put
    monkeypatch.undo()
    forget()


class TestFinding:
    def test_camzoo_is_first_then_plug_ins_by_name(self, plug_in):
        plug_in(zebra=fake(name="zebra"), ant=fake(name="ant"))
        assert list(backends.found()) == ["camzoo", "ant", "zebra"]
        assert backends.find("ant").name == "ant"
        assert [row.backend for row in backends.rows()] == ["camzoo", "ant", "zebra"]

    def test_the_installed_ones(self):
        assert next(iter(backends.found())) == "camzoo"
        assert {"pytorch-grad-cam", "captum", "torchcam"} <= backends.found().keys() | backends._loaded().keys()

    def test_unknown_names_get_the_closest(self, plug_in):
        plug_in(zebra=fake(name="zebra"))
        with pytest.raises(RequestError, match="unknown backend 'zebr': did you mean zebra"):
            backends.find("zebr")

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (ImportError("no such\nmodule"), "some_plug_in:odd does not load: ImportError: no such$"),
            (KeyError(), "some_plug_in:odd does not load: KeyError$"),
            ("a text", "some_plug_in:odd is no camzoo.types.Backend named odd$"),
            (None, "is no camzoo.types.Backend"),
            (fake(name="other"), "is no camzoo.types.Backend named odd$"),
        ],
        ids=["import", "silent", "text", "none", "other name"],
    )
    def test_a_broken_plug_in_takes_no_other_down(self, plug_in, value, reason):
        plug_in(odd=value, good=fake(name="good"))
        assert list(backends.found()) == ["camzoo", "good"]
        row = backends.rows()[-1]
        assert (row.backend, row.status, row.version) == ("odd", Status.FAILED, "")
        with pytest.raises(RequestError, match=f"the backend 'odd' is broken: .*{reason}") as caught:
            backends.find("odd")
        assert "\n" not in str(caught.value)
        assert row.reason in str(caught.value)

    def test_a_plug_in_cannot_take_camzoos_own_name(self, plug_in):
        plug_in(camzoo=fake(name="camzoo"))
        assert backends.find("camzoo") is native.backend

    def test_says_so_where_camzoo_is_not_installed(self, plug_in):
        plug_in()
        with pytest.raises(NotInstalled, match=r"pip install -e \."):
            backends.found()


class TestRegistering:
    def test_it_is_there_until_it_is_taken_back(self, plug_in):
        plug_in(zebra=fake(name="zebra"))
        backends.register(mine := fake(name="mine"))
        try:
            assert list(backends.found()) == ["camzoo", "zebra", "mine"]
            assert backends.find("mine") is mine
            backends.register(other := fake(name="mine"))
            assert backends.find("mine") is other
        finally:
            backends.unregister("mine")
        assert list(backends.found()) == ["camzoo", "zebra"]

    def test_a_plug_in_makes_way_for_a_while(self, plug_in):
        plug_in(zebra=fake(name="zebra"))
        plugged = backends.find("zebra")
        backends.register(mine := fake(name="zebra"))
        assert backends.find("zebra") is mine
        backends.unregister("zebra")
        assert backends.find("zebra") is plugged

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ("captum", "a backend is a camzoo.types.Backend, not a str"),
            (fake, "not a function"),
            (fake(name="camzoo"), "the name 'camzoo' is camzoo's own"),
        ],
        ids=["a name", "a function", "camzoo's own"],
    )
    def test_refuses(self, given, why):
        with pytest.raises(RequestError, match=why):
            backends.register(given)

    def test_only_what_was_registered_is_taken_back(self):
        with pytest.raises(RequestError, match="unknown registered backend 'captum': there is none"):
            backends.unregister("captum")


class TestListing:
    def test_rows_and_matrix(self, plug_in):
        plug_in(fake=fake(), away=fake(name="away", distribution="surely-not-here"))
        rows = {row.backend: row for row in backends.rows()}
        assert (rows["fake"].status, rows["fake"].version) == (Status.READY, metadata.version("camzoo"))
        assert (rows["away"].status, rows["away"].reason) == (Status.NOT_INSTALLED, "pip install surely-not-here")
        cells = {(cell.method, cell.backend): cell for cell in backends.coverage()}
        methods = {offer.method for backend in backends.found().values() for offer in backend.offers}
        assert cells.keys() == {(method, name) for method in methods for name in ("camzoo", "fake", "away")}
        ready, offered, away = cells["magic", "fake"], cells["magic", "camzoo"], cells["magic", "away"]
        assert (ready.status, ready.calls, ready.stage) == (Status.READY, "Magic", Stage.RECTIFIED)
        assert (offered.status, offered.reason) == (Status.NOT_OFFERED, "camzoo has no magic")
        assert (away.status, away.reason) == (Status.NOT_INSTALLED, "pip install surely-not-here")

    def test_a_library_that_is_taken_away(self, monkeypatch, problem):
        real = metadata.version

        def version(name):
            if name == "torchcam":
                raise metadata.PackageNotFoundError(name)
            return real(name)

        monkeypatch.setattr(metadata, "version", version)
        row = next(row for row in backends.rows() if row.backend == "torchcam")
        assert (row.status, row.reason) == (Status.NOT_INSTALLED, "pip install torchcam")
        with pytest.raises(NotInstalled, match=r"^pip install torchcam$"):
            backends.run(backends.find("torchcam"), problem, "gradcam", {})
        assert backends.run(native.backend, problem, "gradcam", {}).values.shape == (3, 6, 8)


class TestRun:
    def test_gives_the_heatmap(self, problem):
        heatmap = backends.run(fake(), problem, "gradcam", {"size": 3})
        assert heatmap.values.shape == (3, 6, 8)

    @pytest.mark.parametrize(
        ("method", "options", "message"),
        [
            ("scorecam", {}, "fake has no scorecam"),
            ("gradcam", {"colour": 1}, "gradcam@fake has no option 'colour'; its options: size, shape"),
            ("magic", {"size": 1}, "magic@fake has no option 'size'; its options: none"),
        ],
    )
    def test_what_is_not_offered_is_not_asked(self, problem, method, options, message):
        asked = []
        with pytest.raises(NotOffered, match=message):
            backends.run(fake(lambda *given: asked.append(given)), problem, method, options)
        assert asked == []

    def test_what_is_not_installed_is_not_asked(self, problem):
        asked = []
        absent = fake(lambda *given: asked.append(given), distribution="surely-not-here")
        with pytest.raises(NotInstalled, match=r"^pip install surely-not-here$"):
            backends.run(absent, problem, "gradcam", {})
        assert asked == []

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
            (RuntimeError("\n  first line\nsecond line"), "RuntimeError: first line"),
            (AssertionError(), "AssertionError"),
            (StopIteration(3), "StopIteration: 3"),
            (torch.OutOfMemoryError("CUDA out of memory"), "OutOfMemoryError: CUDA out of memory"),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_a_foreign_error_is_one_line(self, problem, error, reason):
        def explain(*_):
            raise error

        with pytest.raises(Failed) as caught:
            backends.run(fake(explain), problem, "gradcam", {})
        assert str(caught.value) == reason
        assert caught.value.__cause__ is error

    @pytest.mark.parametrize("error", [NotOffered("not for tokens"), RequestError("no"), Failed("of its own")])
    def test_camzoos_own_errors_pass(self, problem, error):
        def explain(*_):
            raise error

        with pytest.raises(type(error)) as caught:
            backends.run(fake(explain), problem, "gradcam", {})
        assert caught.value is error

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_is_no_failure(self, problem, error):
        def explain(lent, *_):
            lent.model.train().stem.register_forward_hook(print)
            raise error

        before = snapshot(problem.model)
        with pytest.raises(error):
            backends.run(fake(explain), problem, "gradcam", {})
        assert snapshot(problem.model) == before

    @pytest.mark.parametrize(
        ("shape", "found"),
        [((2, 6, 8), "(2, 6, 8)"), ((3, 1, 6, 8), "(3, 1, 6, 8)"), ((6, 8), "(6, 8)"), ((), "()"), ((4, 6, 8), "(4, ")],
        ids=str,
    )
    def test_not_one_map_for_each_image(self, problem, shape, found):
        def explain(lent, method, _options):
            return Heatmap(torch.zeros(shape), Stage.RAW, Resolution.LAYER, (24, 32), method, "fake")

        with pytest.raises(Failed) as caught:
            backends.run(fake(explain), problem, "gradcam", {})
        assert str(caught.value).startswith(f"gave {found}")
        assert str(caught.value).endswith("for 3 images, not one map for each")

    @pytest.mark.parametrize("given", [None, torch.zeros(3, 6, 8), "map"], ids=lambda given: type(given).__name__)
    def test_something_that_is_no_heatmap(self, problem, given):
        with pytest.raises(Failed, match=f"gave a {type(given).__name__}, not a Heatmap"):
            backends.run(fake(lambda *_: given), problem, "gradcam", {})

    def test_the_map_is_detached(self, problem):
        def explain(lent, method, _options):
            values = lent.images.clone().requires_grad_().sum(1)
            assert values.requires_grad
            return Heatmap(values, Stage.RAW, Resolution.IMAGE, (24, 32), method, "fake")

        assert not backends.run(fake(explain), problem, "gradcam", {}).values.requires_grad

    def test_the_images_are_a_private_copy(self, problem):
        before = problem.images.clone()
        problem.images.requires_grad_()

        def explain(lent, *rest):
            assert torch.equal(lent.images, before)
            assert not lent.images.requires_grad
            lent.images.zero_()
            return zeros(lent, *rest)

        backends.run(fake(explain), problem, "gradcam", {})
        assert torch.equal(problem.images.detach(), before)

    @pytest.mark.parametrize("around", [torch.enable_grad, torch.no_grad, torch.inference_mode])
    def test_a_library_finds_what_it_expects(self, images, around):
        """Eval mode, gradients on, generators seeded, and images that may be saved for a backward pass."""
        net = seeded(SmallNet).train()
        seen = []

        def explain(lent, *rest):
            assert not lent.model.training
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            assert not lent.images.is_inference()
            seen.append(float(torch.rand(1)))
            lent.model(lent.images)[:, 0].sum().backward()
            assert lent.model.stem.weight.grad is not None
            return zeros(lent, *rest)

        before = snapshot(net)
        with around():
            made = images.clone()
            for seed in (11, 11, 12):
                backends.run(fake(explain), problems.pose(net, made, "last", 2, seed), "gradcam", {})
        assert seen[0] == seen[1] != seen[2]
        assert snapshot(net) == before

    @pytest.mark.parametrize("raises", [False, True])
    def test_the_model_comes_back(self, images, raises):
        net = seeded(SmallNet).train()
        net.last.weight.grad = torch.ones_like(net.last.weight)
        problem = problems.pose(net, images, "last", 2)

        def explain(lent, *rest):
            lent.model.act = torch.nn.Identity()
            lent.model.head.register_full_backward_hook(print)
            lent.model.train().requires_grad_(False)
            lent.model.norm.running_mean += 1
            torch.rand(3)
            if raises:
                raise IndexError
            return zeros(lent, *rest)

        before = snapshot(net)
        try:
            backends.run(fake(explain), problem, "gradcam", {})
        except Failed:
            assert raises
        after = snapshot(net)
        del before["versions"], after["versions"]  # a buffer was written and written back
        assert after == before

    def test_a_library_in_one_thread_and_camzoo_in_others(self, images):
        """A capture's own hook, in the model for a moment, is neither lost nor left behind."""
        net = seeded(SmallNet).train()
        problem = problems.pose(net, images, "last", 2)
        wanted = capture.take(net, "last", images, [TopClass()])[0][0]
        before, wrong = snapshot(net), []

        def explain(lent, *rest):
            lent.model.last.register_forward_hook(lambda *_: None)
            lent.model(lent.images)
            return zeros(lent, *rest)

        def foreign() -> None:
            for _ in range(20):
                backends.run(fake(explain), problem, "gradcam", {})

        def own() -> None:
            for _ in range(40):
                found = capture.take(net, "last", images, [TopClass()])[0][0]
                if not torch.equal(found.gradients, wanted.gradients):
                    wrong.append("another map")

        def watched(work) -> None:
            try:
                work()
            except BaseException as error:
                wrong.append(error)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=watched, args=(work,)) for work in (foreign, own, foreign, own)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert wrong == []
        after = snapshot(net)
        for kind in ("hooks", "training", "modules", "grad", "requires_grad"):
            assert after[kind] == before[kind], kind
