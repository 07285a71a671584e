"""Operations against closed forms, written out; what is not counted has a name."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.training import flops
from pipeline.training.flops import FlopCounter, unfused

N, TOKENS, WIDTH, HEADS, HIDDEN = 3, 6, 8, 2, 16
CONVOLUTIONS = [
    # settings, and pixels at which the kernel is placed
    ({"kernel_size": 3, "padding": 1}, 64),
    ({"kernel_size": 3}, 36),
    ({"kernel_size": 3, "padding": 1, "stride": 2}, 16),
    ({"kernel_size": 3, "dilation": 2}, 16),
    ({"kernel_size": 3, "padding": 1, "groups": 2, "bias": False}, 64),
    ({"kernel_size": (1, 5), "padding": (0, 2), "groups": 4}, 64),
]
RECURRENT = [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)]


def count(function, *inputs, backward=False):
    """Return the operations of a call, and of its backward pass if asked, and names of others."""
    counter = FlopCounter()
    with torch.set_grad_enabled(backward), unfused(), counter:
        output = function(*inputs)
        output = output[0] if isinstance(output, tuple) else output
        if backward:
            output.abs().sum().backward()
    return counter.flops, counter.uncounted


def tensor(*shape):
    """Return inputs that need a gradient, as those of all layers but the first."""
    return torch.ones(shape, requires_grad=True)


def check(function, inputs, forward):
    """Check the operations of a forward pass, and twice as many of the backward pass."""
    assert count(function, *inputs) == (forward, set())
    assert count(function, *inputs, backward=True) == (3 * forward, set())


def self_attention(**settings):
    layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, **settings)
    return layer, lambda x, **named: layer(x, x, x, **named)[0]


def attention_flops():
    projections = N * TOKENS * WIDTH * (3 * WIDTH) + N * TOKENS * WIDTH * WIDTH
    return 2 * (projections + 2 * N * TOKENS * TOKENS * WIDTH)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(N, 5), (N, TOKENS, 5)])
def test_linear(bias, shape):
    rows = torch.zeros(shape).numel() // 5
    check(nn.Linear(5, 7, bias=bias), [tensor(*shape)], 2 * rows * 5 * 7)


@pytest.mark.parametrize(("settings", "pixels"), CONVOLUTIONS)
def test_convolution(settings, pixels):
    layer = nn.Conv2d(4, 8, **settings)
    area = layer.kernel_size[0] * layer.kernel_size[1]
    forward = 2 * N * pixels * 8 * (4 // layer.groups) * area
    check(layer, [tensor(N, 4, 8, 8)], forward)


def test_transposed_convolution():
    layer = nn.ConvTranspose2d(4, 8, 3, stride=2, groups=2)
    check(layer, [tensor(N, 4, 5, 5)], 2 * N * 25 * 4 * (8 // 2) * 9)


def test_the_first_layer_has_no_gradient_of_its_inputs():
    assert count(nn.Conv2d(1, 8, 3), torch.ones(N, 1, 8, 8), backward=True) == (
        2 * (2 * N * 36 * 8 * 9),
        set(),
    )


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention(dropout, training, need_weights):
    layer, call = self_attention(dropout=dropout)
    layer.train(training)
    check(
        lambda x: call(x, need_weights=need_weights), [tensor(N, TOKENS, WIDTH)], attention_flops()
    )


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_transformer_layer(dropout, training, fused):
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fused)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, dropout=dropout, batch_first=True)
    try:
        check(
            layer.train(training),
            [tensor(N, TOKENS, WIDTH)],
            attention_flops() + 2 * (2 * N * TOKENS * WIDTH * HIDDEN),
        )
        assert torch.backends.mha.get_fastpath_enabled() is fused
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@pytest.mark.parametrize("backend", [None, SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
@pytest.mark.parametrize("causal", [True, False])
def test_attention_is_equal_for_every_kernel(backend, causal):
    def attention(query, key, value):
        if backend is None:
            return functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        with sdpa_kernel(backend):
            return functional.scaled_dot_product_attention(query, key, value, is_causal=causal)

    inputs = [tensor(N, HEADS, TOKENS, WIDTH) for _ in range(3)]
    check(attention, inputs, 2 * (2 * N * HEADS * TOKENS * TOKENS * WIDTH))


@pytest.mark.parametrize(("kind", "gates"), RECURRENT)
def test_recurrent_layers(kind, gates):
    layer = kind(5, 7, batch_first=True)
    inputs = 2 * N * TOKENS * gates * 7 * 5
    states = 2 * N * TOKENS * gates * 7 * 7
    assert count(layer, tensor(N, TOKENS, 5)) == (inputs + states, set())
    # the first state is not computed from anything
    first = states // TOKENS
    assert count(layer, tensor(N, TOKENS, 5), backward=True) == (
        3 * (inputs + states) - first,
        set(),
    )


def test_bilinear():
    layer = nn.Bilinear(5, 6, 7)
    assert count(layer, tensor(N, 5), tensor(N, 6)) == (2 * N * 7 * (5 * 6 + 6), set())
    backward, uncounted = count(layer, tensor(N, 5), tensor(N, 6), backward=True)
    assert backward >= 3 * (2 * N * 7 * 5 * 6)
    assert not uncounted


@pytest.mark.parametrize(
    ("function", "shapes", "forward"),
    [
        (torch.matmul, [(N, 4), (4, 5)], N * 4 * 5),
        (torch.matmul, [(2, N, 4), (2, 4, 5)], 2 * N * 4 * 5),
        (torch.matmul, [(2, N, 4), (4, 5)], 2 * N * 4 * 5),
        (lambda a, b: torch.einsum("nij,njk->nik", a, b), [(2, N, 4), (2, 4, 5)], 2 * N * 4 * 5),
        (lambda a, b: torch.einsum("nchw,kc->nkhw", a, b), [(N, 4, 5, 5), (6, 4)], N * 25 * 4 * 6),
        (lambda a, b: torch.tensordot(a, b, 1), [(N, 4), (4, 5)], N * 4 * 5),
        (lambda a, b: torch.addbmm(torch.ones(N, 5), a, b), [(2, N, 4), (2, 4, 5)], 2 * N * 4 * 5),
        (lambda a, b: functional.unfold(a, 3).mT @ b, [(N, 4, 8, 8), (36, 5)], N * 36 * 36 * 5),
        (torch.mv, [(N, 4), (4,)], N * 4),
        (torch.dot, [(4,), (4,)], 4),
    ],
)
def test_products_of_ones_own(function, shapes, forward):
    counted, uncounted = count(function, *(tensor(*shape) for shape in shapes))
    assert (counted, uncounted) == (2 * forward, set())


def test_complex_numbers_take_four_times_as_many():
    one, two = torch.ones(N, 4, dtype=torch.complex64), torch.ones(4, 5, dtype=torch.complex64)
    assert count(torch.mm, one, two) == (8 * N * 4 * 5, set())


@pytest.mark.parametrize(
    "layer",
    [
        *(nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2), nn.AdaptiveMaxPool2d(3)),
        *(nn.LPPool2d(2, 2), nn.FractionalMaxPool2d(2, 3), nn.Upsample(scale_factor=2)),
        *(nn.Upsample(scale_factor=2, mode="bilinear"), nn.PixelShuffle(2), nn.ZeroPad2d(1)),
        *(nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(8), nn.InstanceNorm2d(4)),
        *(nn.RMSNorm(8), nn.LocalResponseNorm(2), nn.Dropout(), nn.Dropout2d(), nn.AlphaDropout()),
        *(nn.ReLU(), nn.GELU(), nn.SiLU(), nn.ELU(), nn.PReLU(), nn.RReLU(), nn.Softmax(1)),
        *(nn.GLU(1), nn.Mish(), nn.Hardswish(), nn.LogSigmoid(), nn.Softplus(), nn.Flatten()),
        *(nn.ReflectionPad2d(1), nn.CosineSimilarity(), nn.ChannelShuffle(2), nn.Unfold(2)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_is_no_product_counts_nothing(layer):
    inputs = [tensor(N, 4, 8, 8)] * (2 if isinstance(layer, nn.CosineSimilarity) else 1)
    check(lambda *given: layer(*(value * 1 for value in given)), inputs, 0)


@pytest.mark.parametrize(
    ("function", "shape", "names"),
    [
        (lambda x: torch.fft.rfft2(x).abs(), (N, 4, 4), {"aten._fft_r2c"}),
        (lambda x: torch.fft.ifft(torch.fft.fft(x)).abs(), (N, 4), {"aten._fft_c2c"}),
        (lambda x: torch.cdist(x, x), (N, 4), {"aten._cdist_forward"}),
        (lambda x: torch.linalg.inv(x + torch.eye(4)), (4, 4), {"aten.linalg_inv_ex"}),
        (lambda x: torch.linalg.svdvals(x), (4, 4), {"aten._linalg_svd"}),
        (lambda x: torch.linalg.matrix_exp(x), (4, 4), {"aten.linalg_matrix_exp"}),
        (lambda x: torch.eye(4).to_sparse() @ x, (4, 4), {"aten.mm of sparse tensors"}),
    ],
)
def test_an_operation_that_is_not_counted_is_named(function, shape, names):
    _, uncounted = count(function, torch.ones(shape))
    assert names <= uncounted


def test_a_kernel_that_is_not_torch_s_is_named():
    library = torch.library.Library("foreign", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: 2 * x, "CompositeExplicitAutograd")
    assert count(torch.ops.foreign.twice, torch.ones(3)) == (0, {"foreign.twice"})


def test_every_name_in_the_lists_is_one_of_torch_s():
    assert all(hasattr(torch.ops.aten, name) for name in flops.UNTAGGED)


def test_no_product_is_listed_as_free():
    names = {name.removeprefix("aten.") for name in flops.FORMULAS}
    assert not any(flops._is_free_name(name) for name in names)


def test_fused_kernels_are_switched_back_on():
    before = torch.backends.mkldnn.enabled
    with pytest.raises(ZeroDivisionError), unfused():
        assert not torch.backends.mkldnn.enabled
        raise ZeroDivisionError
    assert torch.backends.mkldnn.enabled is before
