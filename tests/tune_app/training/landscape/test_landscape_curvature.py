"""The top eigenvalue against matrices whose spectrum is known, dense Hessians, and finite differences."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from test_landscape_surface import Quadratic, batch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from search_spaces.config.trial import ModelConfig, Norm
from tune_app.models import build_model
from tune_app.training.landscape import top_eigenvalue
from tune_app.training.landscape.curvature import hessian_product, largest


def with_spectrum(*values: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64))
    return basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.T


@pytest.mark.parametrize(
    ("spectrum", "top"),
    [((5.0, 2.0, -1.0), 5.0), ((3.0, 1.0, -8.0), 3.0), ((-1.0, -2.0, -6.0), -1.0), ((0.0, 0.0), 0.0)],
)
def test_the_largest_eigenvalue_is_found_whatever_the_signs(spectrum: tuple[float, ...], top: float) -> None:
    matrix = with_spectrum(*spectrum)
    found = largest(lambda v: matrix @ v, torch.ones(len(spectrum), dtype=torch.float64), 1e-6, 200)
    assert found.value == pytest.approx(top, rel=1e-9, abs=1e-12)
    assert found.residual <= 1e-6


def test_an_iteration_that_is_cut_short_says_so_in_its_residual() -> None:
    matrix = torch.diag(torch.tensor([4.0, 3.96]))
    found = largest(lambda v: matrix @ v, torch.ones(2), 1e-6, 3)
    assert found.iterations == 3
    assert found.residual == pytest.approx(0.005, rel=0.1)


def test_on_a_quadratic_loss_it_is_the_matrixs_own() -> None:
    model = Quadratic()
    found = top_eigenvalue(model, batch(), tolerance=1e-6)
    assert found.value == pytest.approx(float(torch.linalg.eigvalsh(model.matrix)[-1]), rel=1e-9)


@pytest.fixture
def network() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    return model, torch.randn(9, 4, 1, 1, dtype=torch.float64), torch.arange(9) % 3


def test_it_is_that_of_the_dense_hessian_however_the_images_are_cut(network: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = network
    names = [name for name, _ in model.named_parameters()]
    parameters = [p.detach() for p in model.parameters()]

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([p.numel() for p in parameters])
        state = {name: part.view_as(p) for name, part, p in zip(names, parts, parameters, strict=True)}
        return F.cross_entropy(functional_call(model, state, x), y)

    dense = torch.autograd.functional.hessian(loss, torch.cat([p.flatten() for p in parameters]))
    top = float(torch.linalg.eigvalsh(dense)[-1])
    for batches in ([(x, y)], [(x[:7], y[:7]), (x[7:], y[7:])]):
        found = top_eigenvalue(model, batches, tolerance=1e-5, max_iterations=500)
        assert found.value == pytest.approx(top, rel=1e-8)
        assert found.residual <= 1e-5
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("norm", get_args(Norm))
def test_products_agree_with_differences_of_gradients_for_every_norm(norm: str) -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig(depth=8, width=4, norm=norm, norm_groups=2), 1, 3, 8).double().eval()
    x, y = torch.randn(5, 1, 8, 8, dtype=torch.float64), torch.arange(5) % 3
    parameters = list(model.parameters())
    v = torch.randn(sum(p.numel() for p in parameters), dtype=torch.float64)
    product = hessian_product(model, parameters, [(x, y)])(v)

    def gradient(step: float) -> Tensor:
        start = torch.nn.utils.parameters_to_vector(parameters).detach().clone()
        torch.nn.utils.vector_to_parameters(start + step * v, parameters)
        found = torch.autograd.grad(F.cross_entropy(model(x), y), parameters)
        torch.nn.utils.vector_to_parameters(start, parameters)
        return torch.cat([part.flatten() for part in found])

    difference = (gradient(1e-7) - gradient(-1e-7)) / 2e-7
    torch.testing.assert_close(product, difference, rtol=1e-5, atol=1e-5 * float(product.abs().max()))
