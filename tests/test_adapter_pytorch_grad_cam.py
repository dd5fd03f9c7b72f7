"""The adapter for pytorch-grad-cam: coverage against the library, maps, refusals, silence, and the model given back."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import inspect
import pkgutil
import subprocess
import sys
from typing import ClassVar

import pytest
import torch
from camzoo_adapters import pytorch_grad_cam as adapter
from camzoo_adapters.pytorch_grad_cam import backend
from conftest import SmallNet, require, seeded
from torch import nn

from camzoo import backends, problems
from camzoo.errors import NotOffered, RequestError
from camzoo.types import Resolution, Stage

METHODS = [offer.method for offer in backend.offers]
CLASS_BLIND = {"eigencam", "kpcacam", "fem", "random"}
CLASS_ONLY = {"finercam", "sess", "guided-backprop"}

NO_MAP_OF_AN_IMAGE = {
    "AblationLayer": "part of AblationCAM",
    "AblationLayerVit": "part of AblationCAM",
    "AblationLayerFasterRCNN": "part of AblationCAM, for detectors",
    "ActivationsAndGradients": "the hooks",
    "pytorch_grad_cam.base_cam.BaseCAM": "abstract",
    "DeepFeatureFactorization": "several components for each image, none of them the map of a class",
    "run_dff_on_image": "draws the components on a photo",
    "pytorch_grad_cam.sobel_cam.sobel_cam": "the edges of a photo in bytes; there is no model in it",
    "pytorch_grad_cam.ablation_cam_multilayer.AblationCAM": "its get_cam_weights lacks an argument that BaseCAM passes",
}


@pytest.fixture(autouse=True)
def library():
    return require("pytorch_grad_cam")


@pytest.fixture
def square() -> torch.Tensor:
    """Two images, square, since SESS cuts square windows."""
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def ask(model, images, method, target, layer="last_act", **options):
    return backends.run(backend, problems.pose(model, images, layer, target), method, options)


class InPlace(SmallNet):
    def __init__(self) -> None:
        super().__init__()
        self.last_act = nn.ReLU(inplace=True)


class Tokens(nn.Module):
    """A patch embedding with a class token, and a layer that mixes the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 8, stride=8)
        self.mix = nn.Linear(17, 17)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 5)

    def forward(self, images):
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat([patches.mean(1, keepdim=True), patches], 1))
        return self.head(torch.tanh(self.mix(tokens.transpose(1, 2)))[..., 0])


# ---------------------------------------------------------------- coverage


def found_in(library) -> set[str]:
    """Every public class and function of the package, and every CAM class in its modules."""
    names = {
        name
        for name, it in vars(library).items()
        if not name.startswith("_") and (inspect.isclass(it) or inspect.isfunction(it))
    }
    from pytorch_grad_cam.base_cam import BaseCAM

    for module in pkgutil.iter_modules(library.__path__, "pytorch_grad_cam."):
        for name, it in vars(importlib.import_module(module.name)).items():
            if getattr(it, "__module__", "") != module.name:
                continue
            if (inspect.isclass(it) and issubclass(it, BaseCAM)) or name.lower().endswith("cam"):
                exported = getattr(library, name, None) is it
                names.add(name if exported else f"{module.name}.{name}")
    return names


def test_the_table_covers_the_library(library):
    offered = {offer.calls for offer in backend.offers}
    assert not offered & NO_MAP_OF_AN_IMAGE.keys()
    assert found_in(library) == offered | NO_MAP_OF_AN_IMAGE.keys()


def test_a_new_class_of_the_library_is_noticed(library, monkeypatch):
    monkeypatch.setattr(library, "NewCAM", type("NewCAM", (), {}), raising=False)
    assert "NewCAM" in found_in(library)


def test_a_class_that_the_installed_version_lacks_is_not_offered(library, small_net, square, monkeypatch):
    monkeypatch.delattr(library, "FEM")
    adapter._kind.cache_clear()
    with pytest.raises(NotOffered, match=r"grad-cam \d.* has no FEM"):
        ask(small_net, square, "fem", 1)
    adapter._kind.cache_clear()


def test_importing_the_adapter_does_not_import_the_library():
    code = "import sys, camzoo_adapters.pytorch_grad_cam; sys.exit('pytorch_grad_cam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------- maps


@pytest.mark.parametrize("method", METHODS)
def test_each_image_has_the_map_of_its_own_class(small_net, square, method, capfd):
    both = ask(small_net, square, method, [1, 3])
    offer = backend.offer(method)
    assert (both.stage, both.resolution) == (offer.stage, offer.resolution)
    assert both.resolution is Resolution.IMAGE
    assert both.values.shape == (2, 32, 32)
    assert bool(both.values.isfinite().all())
    assert not both.values.requires_grad
    assert both.values.dtype == torch.float32
    if both.stage is Stage.NORMALISED:
        assert both.values.amin() == 0
        assert torch.allclose(both.values.amax((1, 2)), torch.ones(2), atol=1e-5)
    for row, index in enumerate([1, 3]):
        alone = ask(small_net, square[row : row + 1], method, index)
        torch.testing.assert_close(alone.values[0], both.values[row], rtol=0, atol=2e-5)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", METHODS)
def test_the_class_matters_where_the_method_knows_classes(small_net, square, method):
    first, second = (ask(small_net, square, method, index).values for index in (1, 3))
    assert torch.equal(first, second) == (method in CLASS_BLIND)


def evidence(net: SmallNet, images, score):
    """Activations and gradients at the last ReLU, by autograd alone."""
    grid = net.last_act(net.last(net.act(net.norm(net.stem(images))))).detach().requires_grad_()
    logits = net.head(net.pool(grid).flatten(1))
    (gradient,) = torch.autograd.grad(score(logits).sum(), grid)
    return grid.detach(), gradient


def finish(raw, size):
    """ReLU, min-max, resizing, min-max: what the library does after a formula."""

    def scale(maps):
        low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
        return (maps - low) / (high - low)

    return scale(nn.functional.interpolate(scale(raw.relu())[None], size, mode="bilinear")[0])


FORMULAS = {
    "gradcam": lambda A, G: (G.mean((2, 3), keepdim=True) * A).sum(1),
    "hirescam": lambda A, G: (G * A).sum(1),
    "gradcam-elementwise": lambda A, G: (G * A).relu().sum(1),
    "layercam": lambda A, G: (G.relu() * A).sum(1),
    "xgradcam": lambda A, G: ((G * A).sum((2, 3), keepdim=True) / A.sum((2, 3), keepdim=True).clamp_min(1e-30) * A).sum(
        1
    ),
}


@pytest.mark.parametrize("method", FORMULAS)
def test_the_formula_is_applied_to_the_class_and_layer_asked_for(small_net, images, method):
    net, images = small_net.double(), images.double()  # the values before the library's float32 steps
    classes = torch.tensor([4, 0, 2])
    expected = finish(FORMULAS[method](*evidence(net, images, lambda s: s.gather(1, classes[:, None]))), (24, 32))
    given = ask(net, images, method, classes.tolist()).values
    # min-max divides by max + 1e-7, and gradients of this net are about 1e-3
    torch.testing.assert_close(given.double(), expected, rtol=0, atol=2e-4)


def test_a_callable_target_is_explained_where_the_library_takes_one(small_net, square):
    def contrast(outputs):
        return outputs[:, 1] - outputs[:, 3]

    expected = finish(FORMULAS["gradcam"](*evidence(small_net, square, contrast)), (32, 32))
    torch.testing.assert_close(ask(small_net, square, "gradcam", contrast).values, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("method", sorted(CLASS_ONLY))
def test_a_callable_target_is_refused_where_the_library_needs_a_class(small_net, square, method):
    with pytest.raises(NotOffered, match="class only"):
        ask(small_net, square, method, lambda outputs: outputs.sum(1))


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_finercam_contrasts_the_class_with_those_nearest_to_it(small_net, square, alpha):
    def contrast(outputs):
        rows = []
        for row in outputs:
            near = (row - row[2]).abs().argsort()[1:4]
            weights = row.softmax(0)[near]
            rows.append((weights * (row[2] - alpha * row[near])).sum() / weights.sum())
        return torch.stack(rows)

    expected = finish(FORMULAS["gradcam"](*evidence(small_net, square, contrast)), (32, 32))
    given = ask(small_net, square, "finercam", 2, alpha=alpha).values
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-3)


def test_guided_backprop_is_the_guided_gradient_summed_over_colours(small_net, square):
    guides = [
        module.register_full_backward_hook(lambda _module, grads, _outputs: (grads[0].relu(),))
        for module in (small_net.act, small_net.last_act)
    ]
    images = square.clone().requires_grad_()
    small_net(images)[:, 2].sum().backward()
    for guide in guides:
        guide.remove()
    given = ask(small_net, square, "guided-backprop", 2).values
    torch.testing.assert_close(given, images.grad.sum(1), rtol=1e-4, atol=1e-9)


# ---------------------------------------------------------------- options


def options() -> list[tuple[str, str, object]]:
    values = {
        "layers": ["stem", "last_act"],
        "aug_smooth": True,
        "eigen_smooth": True,
        "batch_size": 3,
        "ratio_channels_to_ablate": 0.25,
        "kernel": "rbf",
        "gamma": 0.5,
        "k": 1,
        "base_method": "layercam",
        "alpha": 0.5,
        "comparison_categories": [1],
        "scales": [32, 48],
        "num_scales": 2,
        "scale_step_ratio": 0.5,
        "window_size": 16,
        "step_size": 16,
        "pre_filter_ratio": 0.5,
        "theta": 0.2,
        "pool": "max",
        "smooth": False,
        "use_softmax_scores": False,
    }
    return [(offer.method, option, values[option]) for offer in backend.offers for option in offer.options]


@pytest.mark.parametrize(("method", "option", "value"), options())
def test_every_option_reaches_the_library(small_net, square, method, option, value):
    """Its map is another one, but for batch sizes, which must not change it."""
    fixed = {"num_scales": 3} if method == "sess" and option != "num_scales" else {}
    if option == "gamma":
        fixed = {"kernel": "rbf"}
    plain = ask(small_net, square, method, [1, 3], **fixed).values
    given = ask(small_net, square, method, [1, 3], **fixed, **{option: value}).values
    assert bool(given.isfinite().all())
    assert torch.allclose(given, plain, atol=1e-5) == (option == "batch_size")


@pytest.mark.parametrize("base", adapter._BASES)
@pytest.mark.parametrize("method", ["finercam", "refinecam", "sess"])
def test_methods_on_top_of_every_base(small_net, square, method, base):
    extra = {"num_scales": 1} if method == "sess" else {}
    values = ask(small_net, square, method, [1, 3], base_method=base, **extra).values
    assert values.shape == (2, 32, 32)
    assert bool(values.isfinite().all())


def test_a_ratio_at_which_the_library_loses_channels_is_refused(small_net, square):
    with pytest.raises(NotOffered, match=r"between 0\.5 and 1"):
        ask(small_net, square, "ablationcam", 1, ratio_channels_to_ablate=0.75)
    plain, half = (ask(small_net, square, "ablationcam", 1, ratio_channels_to_ablate=r).values for r in (1.0, 0.5))
    assert torch.equal(plain, half)


def test_names_that_do_not_exist_are_refused(small_net, square):
    with pytest.raises(RequestError, match=r"unknown base method 'gradcan'.*gradcam"):
        ask(small_net, square, "finercam", 1, base_method="gradcan")
    with pytest.raises(RequestError, match=r"unknown layer 'lastact'.*last_act"):
        ask(small_net, square, "gradcam", 1, layers=["lastact"])


# ---------------------------------------------------------------- layers and models of other kinds


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("shapleycam", "refinecam", "guided-backprop")])
def test_tokens(square, method):
    heatmap = ask(seeded(Tokens), square, method, [1, 3], layer="norm")
    assert heatmap.values.shape == (2, 32, 32)
    assert bool(heatmap.values.isfinite().all())
    assert heatmap.values.amax() > 0


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("shapleycam", r"reads \(N, K, h, w\)"),
        ("refinecam", "none on a finer grid before norm"),
        ("guided-backprop", "this model has none"),
    ],
)
def test_what_tokens_cannot_have(square, method, reason):
    with pytest.raises(NotOffered, match=reason):
        ask(seeded(Tokens), square, method, 1, layer="norm")


def test_refinecam_takes_the_next_finer_grids_and_says_so(small_net, square):
    assert ask(small_net, square, "refinecam", 1).notes == ("computed at act, last_act",)


@pytest.mark.parametrize("method", METHODS)
def test_frozen_parameters_change_nothing(small_net, square, method):
    expected = ask(small_net, square, method, [1, 3]).values
    small_net.requires_grad_(False)
    assert torch.equal(ask(small_net, square, method, [1, 3]).values, expected)


def test_bfloat16_is_refused(small_net, square):
    with pytest.raises(NotOffered, match="bfloat16"):
        ask(small_net.bfloat16(), square.bfloat16(), "gradcam", 1)


def test_float16_is_refused_where_numpy_decomposes(small_net, square):
    small_net, square = small_net.half(), square.half()
    assert ask(small_net, square, "gradcam", 1).values.amax() > 0
    assert ask(small_net, square, "kpcacam", 1).values.amax() > 0
    for method, extra in [("eigencam", {}), ("gradcam", {"eigen_smooth": True}), ("sess", {"base_method": "eigencam"})]:
        with pytest.raises(NotOffered, match="float16"):
            ask(small_net, square, method, 1, **extra)


def test_svd_of_a_huge_grid_is_refused(small_net):
    with pytest.raises(NotOffered, match="66564 x 66564"):
        ask(small_net, torch.zeros(1, 3, 516, 516), "eigencam", 1, layer="stem")


def test_outputs_that_are_no_tensor_are_refused(square):
    class Dictionary(SmallNet):
        def forward(self, images):
            return {"out": super().forward(images)}

    net = seeded(Dictionary)
    for method in ("gradcam", "finercam", "sess", "guided-backprop"):
        with pytest.raises(NotOffered, match="gives a dict"):
            ask(net, square, method, 1)


def test_a_slot_without_a_module_is_refused_where_the_library_stumbles(small_net, square):
    small_net.register_module("extra", None)
    assert ask(small_net, square, "gradcam", 1).values.amax() > 0
    for method in ("ablationcam", "fullgrad", "guided-backprop"):
        with pytest.raises(NotOffered, match="holds None"):
            ask(small_net, square, method, 1)


def test_fullgrad_needs_every_layer_to_run_once(small_net, square):
    small_net.unused = nn.Conv2d(1, 1, 1)
    with pytest.raises(NotOffered, match="exactly once"):
        ask(small_net, square, "fullgrad", 1)


def test_fullgrad_says_which_biases_it_leaves_out(small_net, square):
    class Norm(nn.BatchNorm2d):
        pass

    assert ask(small_net, square, "fullgrad", 1).notes == ("FullGrad without the biases of Linear",)
    small_net.norm = Norm(6).eval()
    assert ask(small_net, square, "fullgrad", 1).notes == ("FullGrad without the biases of Linear, Norm",)


def test_a_layer_that_is_written_over_is_told(square):
    net = seeded(InPlace)
    assert ask(net, square, "gradcam", 1, layer="last").notes == (
        "explains what the model writes over the output of last in place",
    )
    assert ask(net, square, "gradcam", 1, layer="last_act").notes == ()


class Volumes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.act, self.pool = nn.Conv3d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2)
        self.last, self.last_act, self.head = nn.Conv3d(6, 8, 3, padding=1), nn.ReLU(), nn.Linear(8, 5)

    def forward(self, volumes):
        grid = self.last_act(self.last(self.pool(self.act(self.stem(volumes)))))
        return self.head(grid.mean((2, 3, 4)))


@pytest.mark.parametrize("method", METHODS)
def test_volumes(method):
    volumes = torch.randn(2, 3, 8, 10, 12, generator=torch.Generator().manual_seed(3))
    if method in ("scorecam", "ablationcam", "fullgrad", "sess", "guided-backprop"):
        with pytest.raises(NotOffered, match="not for volumes"):
            ask(seeded(Volumes), volumes, method, 1)
    else:
        assert ask(seeded(Volumes), volumes, method, 1).values.shape == (2, 8, 10, 12)


# ---------------------------------------------------------------- manners


def test_the_library_prints_by_itself_and_the_adapter_does_not(library, small_net, square, capfd):
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(1)] * 2
    for name, options in [("ScoreCAM", {}), ("AblationCAM", {}), ("HiResCAM", {"eigen_smooth": True})]:
        getattr(library, name)(small_net, [small_net.last_act])(square, targets, **options)
        assert any(capfd.readouterr()), name
    for method, options in [("scorecam", {}), ("ablationcam", {}), ("hirescam", {"eigen_smooth": True})]:
        ask(small_net, square, method, 1, **options)
        assert capfd.readouterr() == ("", "")


def test_maps_swallowed_by_an_epsilon_are_told(small_net, square):
    with torch.no_grad():
        small_net.head.weight.mul_(1e-12)
    (note,) = ask(small_net, square, "gradcam", [1, 3]).notes
    assert "map 0 peaks at" in note
    assert "map 1 peaks at" in note


def test_noted_instead_of_warned(small_net, square):
    with torch.no_grad():
        small_net.head.bias.zero_()
        small_net.head.weight.zero_()
    heatmap = ask(small_net, square, "ablationcam", 1)  # every score is 0, so (S - S_k) / S is 0 / 0
    assert heatmap.notes == ("invalid value in the library's arithmetic",)


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_given_back_as_it_was(small_net, square, method):
    small_net.train()
    small_net.act = nn.ReLU(inplace=True)
    small_net.stem.weight.requires_grad_(False)
    state = {name: value.clone() for name, value in small_net.state_dict().items()}
    before = [
        (name, id(module), module.training, dict(module._forward_hooks)) for name, module in small_net.named_modules()
    ]
    ask(small_net, square, method, 1)
    after = [
        (name, id(module), module.training, dict(module._forward_hooks)) for name, module in small_net.named_modules()
    ]
    assert after == before
    assert all(torch.equal(value, state[name]) for name, value in small_net.state_dict().items())
    assert all(parameter.grad is None for parameter in small_net.parameters())
    assert not small_net.stem.weight.requires_grad
    assert square.grad is None
    assert not square.requires_grad


FIELDS = "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"


class Allocated(ctypes.Structure):
    """What `mallinfo2` of the GNU C library tells."""

    _fields_: ClassVar = [(name, ctypes.c_size_t) for name in FIELDS]


def held() -> int:
    """Bytes that are allocated and not freed: to the byte, unlike the pages that a process has."""
    tell = ctypes.CDLL(None).mallinfo2
    tell.restype = Allocated
    told = tell()
    return told.uordblks + told.hblkhd


def growth(model, images, method) -> float:
    """Bytes that a call leaves behind, on average over ten calls after the first three."""
    sizes = []
    gc.collect()
    gc.freeze()  # what is there already need not be looked through again and again
    for _ in range(13):
        ask(model, images, method, 1, **({"num_scales": 1} if method == "sess" else {}))
        gc.collect()
        sizes.append(held())
    return (sizes[-1] - sizes[2]) / 10


reads_allocator = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="asks the GNU C library")


@reads_allocator
@pytest.mark.parametrize("method", METHODS)
def test_memory_does_not_grow(small_net, method):
    """Also not by what no Python object holds, as graphs that hold themselves; an activation here has 32 kB or more."""
    assert growth(small_net, torch.randn(1, 3, 64, 64), method) < 10e3


@reads_allocator
def test_memory_that_is_not_released_is_seen(small_net, monkeypatch):
    from pytorch_grad_cam.base_cam import BaseCAM

    monkeypatch.setattr(BaseCAM, "__del__", lambda self: None)
    monkeypatch.setattr(adapter, "_released", contextlib.nullcontext)
    assert growth(small_net, torch.randn(1, 3, 64, 64), "shapleycam") > 50e3
