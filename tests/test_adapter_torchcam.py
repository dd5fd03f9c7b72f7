"""torchcam as a backend: all of it, one map for each image and its own class, nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest
import torch
import torchvision
from camzoo_adapters.torchcam import backend
from conftest import require, seeded
from torch import nn

from camzoo import backends, grids, guard, problems
from camzoo.errors import NotOffered
from camzoo.types import Heatmap, Resolution, Stage

# Classes of torchcam.methods that give no map for one image, with the reason.
EXCLUDED: dict[str, str] = {}

ON_CONVOLUTIONS = [offer.method for offer in backend.offers if offer.method != "legrad"]
CLASS_ONLY = ("cam", "finercam", "legrad")


def ask(model, images, method, target=None, layer=None, seed=0, **options) -> Heatmap:
    return backends.run(backend, problems.pose(model, images, layer, target, seed), method, options)


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-12) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def build_transformer() -> nn.Module:
    model = torchvision.models.VisionTransformer(32, 8, 2, 4, 16, 32, num_classes=5)
    nn.init.normal_(model.heads.head.weight)  # torchvision sets it to zero, so that every gradient would be zero
    return model


@pytest.fixture(autouse=True)
def library() -> ModuleType:
    return require("torchcam.methods")


@pytest.fixture
def net(small_net) -> nn.Module:
    return small_net.double()


@pytest.fixture
def photos(images) -> torch.Tensor:
    return images.double()


@pytest.fixture
def transformer() -> nn.Module:
    return seeded(build_transformer).double()


@pytest.fixture
def squares() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_everything_that_the_library_has_is_in_the_table(library):
    public = {name for name in dir(library) if isinstance(getattr(library, name), type)}
    assert {offer.calls for offer in backend.offers} | set(EXCLUDED) == public
    assert not {offer.calls for offer in backend.offers} & set(EXCLUDED)


@pytest.mark.parametrize("method", ON_CONVOLUTIONS)
def test_maps_are_finite_and_batch_mates_do_not_matter(net, photos, method):
    offer, classes = backend.offer(method), [0, 3, 1]
    found = ask(net, photos, method, classes)
    assert (found.stage, found.resolution) == (offer.stage, offer.resolution)
    assert (found.method, found.backend) == (method, "torchcam")
    size = (24, 32) if offer.resolution is Resolution.IMAGE else (6, 8)
    assert found.values.shape == (3, *size)
    assert found.values.dtype == torch.float64
    assert not found.values.requires_grad
    assert found.values.isfinite().all()
    assert (found.values.amax((1, 2)) > 0).all()
    assert found.stage is Stage.RAW or (found.values >= 0).all()
    for row, index in enumerate(classes):
        assert_close(found.values[[row]], ask(net, photos[[row]], method, [index]).values)


@pytest.mark.parametrize("method", ON_CONVOLUTIONS)
def test_each_image_is_explained_for_its_own_class(net, photos, method):
    one, other = (ask(net, photos, method, classes).values for classes in ([0, 3, 1], [2, 3, 1]))
    assert_close(one[1:], other[1:])
    assert (one[0] - other[0]).abs().max() > 1e-3 * one[0].abs().max()


def test_cam_is_signed_and_gradcam_rectified_where_both_are_known_in_closed_form(net, photos):
    classes = [0, 3, 1]
    with torch.no_grad():
        grid = net.last_act(net.last(net.act(net.norm(net.stem(photos)))))
        raw = torch.einsum("nk,nkhw->nhw", net.head.weight[classes], grid)
    assert (raw < 0).any()
    assert_close(ask(net, photos, "cam", classes).values, raw)
    rectified = grids.rectify(raw / 48)  # the average of 6 x 8 cells has the derivative 1/48
    for method in ("gradcam", "xgradcam"):
        assert_close(ask(net, photos, method, classes).values, rectified, 1e-6 if method == "xgradcam" else 1e-12)
    assert_close(ask(net, photos, "finercam", classes, gamma=0).values, rectified)


def test_the_map_is_the_library_s_own(library, net, photos):
    with guard.borrowed(net), library.LayerCAM(net, "stem") as extractor:
        scores = net(photos.requires_grad_())
        expected = extractor([1, 2, 3], scores, normalized=False)[0]
    assert_close(ask(net, photos, "layercam", [1, 2, 3], "stem").values, expected)


@pytest.mark.parametrize("method", [name for name in ON_CONVOLUTIONS if name not in CLASS_ONLY])
def test_a_callable_target_is_explained_like_the_class_that_it_stands_for(net, photos, method):
    def target(outputs):
        return outputs.diagonal()  # image n for class n

    asked = ask(net, photos, method, target)
    assert_close(asked.values, ask(net, photos, method, [0, 1, 2]).values)


@pytest.mark.parametrize("method", CLASS_ONLY)
def test_a_callable_target_is_not_offered_by_those_that_take_classes_only(net, photos, transformer, squares, method):
    model, images = (transformer, squares) if method == "legrad" else (net, photos)
    with pytest.raises(NotOffered, match="explains the logit of a class only"):
        ask(model, images, method, lambda outputs: outputs.sum(1))


@pytest.mark.parametrize("method", ["smoothgradcam++", "sscam"])
def test_noise_comes_from_the_problem_s_seed(net, photos, method):
    first, again, other = (ask(net, photos, method, 1, seed=seed).values for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 1e-6 * first.abs().max()
    twins = ask(net, photos[[0, 0]], method, 1).values
    assert torch.equal(twins[0], twins[1])


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("smoothgradcam++", {"std": 1.0}),
        ("smoothgradcam++", {"num_samples": 9}),
        ("sscam", {"std": 0.5}),
        ("sscam", {"num_samples": 2}),
        ("iscam", {"num_samples": 3}),
        ("xgradcam", {"eps": 10.0}),
        ("finercam", {"gamma": 1}),
        ("finercam", {"num_references": 1}),
        ("finercam", {"comparison_idx": [0, 4]}),
        ("finercam", {"base_method": "layercam"}),
        ("refinecam", {"base_method": "layercam"}),
        ("refinecam", {"layers": ["norm", "last", "last_act"]}),
    ],
)
def test_options_reach_the_library(net, photos, method, options):
    plain, changed = ask(net, photos, method, 1).values, ask(net, photos, method, 1, **options).values
    assert (plain - changed).abs().max() > 1e-4 * plain.abs().max()


def test_the_batch_size_changes_no_map(net, photos):
    for method in ("scorecam", "iscam", "sscam"):
        assert_close(ask(net, photos, method, 1, batch_size=5).values, ask(net, photos, method, 1).values)


def test_an_unknown_base_method_is_not_offered(net, photos):
    with pytest.raises(NotOffered, match="torchcam has no eigencam"):
        ask(net, photos, "finercam", 1, base_method="eigencam")


def test_refinecam_is_the_product_over_coarse_and_fine_layers(net, photos):
    found = ask(net, photos, "refinecam", 1)
    assert found.notes == ("computed at act, last_act",)
    maps = [ask(net, photos, "gradcam++", 1, layer).at("normalised").resize() for layer in ("act", "last_act")]
    assert_close(found.values, maps[0] * maps[1], 1e-3)  # torchcam's min-max has an epsilon of 1e-8


def test_refinecam_without_a_finer_layer_is_not_offered(net, photos, transformer, squares):
    with pytest.raises(NotOffered, match="no finer grid comes before stem: name `layers`"):
        ask(net, photos, "refinecam", 1, "stem")
    with pytest.raises(NotOffered, match="no finer grid"):
        ask(transformer, squares, "refinecam", 1)


def test_maps_of_several_layers_are_fused_at_the_image_s_size(net, photos):
    found = ask(net, photos, "gradcam", 1, layers=["act", "last_act"])
    assert (found.resolution, found.stage) == (Resolution.IMAGE, Stage.RECTIFIED)
    assert found.notes == ("computed at act, last_act",)
    maps = [ask(net, photos, "gradcam", 1, layer).at("normalised").resize() for layer in ("act", "last_act")]
    assert_close(found.values, torch.maximum(*maps), 1e-4)


def test_cam_is_not_offered_without_one_fitting_linear_layer(net, photos):
    with pytest.raises(NotOffered, match="weighs the inputs of head, 8; act has 6 channels"):
        ask(net, photos, "cam", 1, "act")
    two = seeded(lambda: nn.Sequential(net.stem, net.pool, nn.Flatten(), nn.Linear(6, 6), nn.Linear(6, 5))).double()
    with pytest.raises(NotOffered, match="finds one linear layer, this model has 2; fc_layer names one"):
        ask(two, photos, "cam", 1, "0")
    named = ask(two, photos, "cam", 1, "0", fc_layer="4")
    assert named.values.shape == (3, 12, 16)
    assert named.notes == ("4 does not take the average of 0: its weights are no more than a guess for a CAM",)
    assert ask(net, photos, "cam", 1).notes == ()


def test_an_output_that_is_written_over_in_place_is_told(net, photos):
    plain = ask(net, photos, "gradcam", 1, "last").values
    net.last_act.inplace = True
    found = ask(net, photos, "gradcam", 1, "last")
    assert found.notes == ("explains what the model writes over the output of last in place",)
    assert_close(found.values, ask(net, photos, "gradcam", 1, "last_act").values)
    assert (found.values - plain).abs().max() > 0.01 * plain.abs().max()


def test_a_nan_that_the_map_hides_is_told(net, photos):
    problem = problems.pose(net, photos, None, 1)
    problem.images[0, 0, 0, 0] = torch.nan
    found = backends.run(backend, problem, "gradcam", {})
    assert "torchcam leaves NaN out of its sums" in found.notes[0]


def test_legrad_reads_the_block_that_holds_the_layer(transformer, squares):
    inner, block = "encoder.layers.encoder_layer_1.ln_1", "encoder.layers.encoder_layer_1"
    found = ask(transformer, squares, "legrad", [0, 3], inner)
    assert found.values.shape == (2, 4, 4)
    assert found.notes == (f"computed at {block}",)
    assert (found.values >= 0).all()
    assert (found.values.amax((1, 2)) > 0).all()
    assert_close(found.values, ask(transformer, squares, "legrad", [0, 3], block).values)
    for row, index in enumerate([0, 3]):
        assert_close(found.values[[row]], ask(transformer, squares[[row]], "legrad", index, inner).values)
    first = ask(transformer, squares, "legrad", [0, 3], "encoder.layers.encoder_layer_0").values
    both = ask(transformer, squares, "legrad", [0, 3], layers=["encoder.layers.encoder_layer_0", block]).values
    assert_close(both, (first + found.values) / 2)


def test_legrad_is_not_offered_elsewhere(net, photos, transformer, squares):
    with pytest.raises(NotOffered, match="last_act is in none"):
        ask(net, photos, "legrad", 1)
    problem = problems.pose(transformer, squares, None, 1)
    transformer.encoder.layers.encoder_layer_1.self_attention.batch_first = False
    with pytest.raises(NotOffered, match=r"LeGrad: target block .* requires batch-first attention"):
        backends.run(backend, problem, "legrad", {})


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "xgradcam", "layercam", "scorecam", "smoothgradcam++"])
def test_tokens_become_a_grid(transformer, squares, method):
    found = ask(transformer, squares, method, [0, 3])
    assert found.values.shape == (2, 4, 4)
    assert (found.values.amax((1, 2)) > 0).all()


def test_frozen_models_and_those_that_begin_in_place_are_explained(net, photos):
    expected = ask(net, photos, "gradcam", 1, "last_act").values
    net.requires_grad_(False)
    assert_close(ask(net, photos, "gradcam", 1, "last_act").values, expected)
    begins = nn.Sequential(nn.ReLU(inplace=True), net)
    assert ask(begins, photos, "gradcam", 1, "1.last_act").values.isfinite().all()


def test_models_that_return_no_tensor_are_not_offered(net, photos):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net

        def forward(self, images):
            return {"logits": self.inner(images)}

    with pytest.raises(NotOffered, match="a tensor of scores, not a dict"):
        ask(Named().eval(), photos, "gradcam", 1, "inner.last_act")


def test_half_precision(small_net, images):
    half = small_net.bfloat16()
    assert ask(half, images.bfloat16(), "gradcam", 1).values.dtype == torch.bfloat16
    with pytest.raises(NotOffered, match="float32 noise"):
        ask(half, images.bfloat16(), "smoothgradcam++", 1)


def test_a_class_that_this_version_lacks_is_not_offered(library, net, photos, monkeypatch):
    monkeypatch.delattr(library, "XGradCAM")
    with pytest.raises(NotOffered, match=r"torchcam \d+\.\d+\.\d+ has no XGradCAM"):
        ask(net, photos, "xgradcam", 1)


@pytest.mark.parametrize("method", ON_CONVOLUTIONS)
def test_nothing_is_left_behind_or_said(net, photos, method, capfd, caplog):
    net.train()
    problem = problems.pose(net, photos, None, 1)
    backends.run(backend, problem, method, {})
    assert all(module.training for module in net.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    # Not thanks to the guard alone: the hooks are gone when the adapter returns.
    net.eval()
    backend.explain(problem, method, {})
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_importing_the_adapter_does_not_import_the_library():
    code = "import sys, camzoo_adapters.torchcam; sys.exit('torchcam' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
