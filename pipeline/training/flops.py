"""Count the floating-point operations of products, and name the operations that are not counted.

Counted are matrix products, convolutions and attention, 2 operations for each multiplication and
its addition, 4 times as many for complex numbers. Convolutions count padded pixels as any other.
Element-wise operations, sums, normalization, pooling, interpolation, random draws and moves of
data count 0: each takes a few operations a value, and none is a product. Everything else torch
runs is named instead of counted: Fourier transforms, solvers and decompositions, kernels that are
not torch's own, and products of sparse matrices.

Under `unfused`, numbers are equal for every kernel that torch may choose.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Arguments = Sequence[Any]
NAMESPACES = ("aten", "prim", "profiler")  # the last for marks of torch.profiler.record_function
TAGS = {torch.Tag.pointwise, torch.Tag.reduction, torch.Tag.view_copy}
SUFFIXES = ("_data", "_backward", "_")  # in-place and derivative forms of an operation

# operations without a product that torch does not tag as such
MOVES = """
_chunk_cat _copy_from _fused_sdp_choice _has_same_storage_numel _index_put_impl _lazy_clone
_local_scalar_dense _pack_padded_sequence _pin_memory _reshape_copy _resize_output _stack
_to_copy _to_dense _to_sparse _unsafe_index _unsafe_index_put _unsafe_masked_index
_unsafe_masked_index_put_accumulate _unsafe_view as_strided_scatter block_diag cat
channel_shuffle col2im constant_pad_nd copy diag_embed diagonal_scatter embedding
embedding_dense_backward empty_like fill flip full_like gather im2col index index_add index_copy
index_fill index_put index_reduce index_select is_pinned is_same_size is_set_to lift linspace
logspace masked_scatter masked_select new_empty new_empty_strided new_full new_ones new_zeros
nonzero nonzero_static ones_like pixel_shuffle pixel_unshuffle put record_stream
reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d
replication_pad2d replication_pad3d resize resize_as roll rot90 scatter scatter_add
scatter_reduce select_scatter set split_with_sizes_copy stack take tril triu unsafe_split
unsafe_split_with_sizes zero zeros_like
"""
DRAWS = """
_dirichlet_grad _fused_dropout _sample_dirichlet _standard_gamma _standard_gamma_grad bernoulli
binomial cauchy exponential geometric log_normal multinomial native_dropout normal
normal_functional poisson rand_like randint_like randn_like random rrelu_with_noise
rrelu_with_noise_functional uniform
"""
REDUCTIONS = """
_aminmax _assert_async _assert_tensor_metadata _cummax_helper _cummin_helper _embedding_bag
_embedding_bag_dense_backward _embedding_bag_forward_only
_embedding_bag_per_sample_weights_backward _foreach_powsum _is_all_true _is_any_true
_linalg_check_errors
_log_softmax _logcumsumexp _masked_softmax _safe_softmax _segment_reduce_backward _softmax
_unique _unique2 allclose bincount bucketize cummax cummin cumprod cumsum dist histc histogram
isin kthvalue logcumsumexp median mode nanmedian native_norm searchsorted segment_reduce sort
topk trace unique_consecutive unique_dim unique_dim_consecutive
"""
ELEMENT_WISE = """
__irshift__ _add_relu _fake_quantize_learnable_per_channel_affine
_fake_quantize_learnable_per_tensor_affine
_fake_quantize_per_tensor_affine_cachemask_tensor_qparams _masked_scale _prelu_kernel complex
fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask
floor_divide glu glu_jvp hardswish linalg_cross log_sigmoid log_sigmoid_forward polar
"""
NORMS = """
_batch_norm_no_update _batch_norm_with_update _batch_norm_with_update_functional _fused_rms_norm
_native_batch_norm_legit _native_batch_norm_legit_functional
_native_batch_norm_legit_no_training _weight_norm_interface batch_norm embedding_renorm
native_batch_norm native_group_norm native_layer_norm renorm
"""
LOSSES = """
_ctc_loss binary_cross_entropy binary_cross_entropy_with_logits huber_loss mse_loss
multi_margin_loss multilabel_margin_loss multilabel_margin_loss_forward nll_loss nll_loss2d
nll_loss2d_forward nll_loss_forward smooth_l1_loss soft_margin_loss
"""
POOLING = """
_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d avg_pool2d
avg_pool3d fractional_max_pool2d fractional_max_pool3d max_pool2d_with_indices
max_pool3d_with_indices max_unpool2d max_unpool3d
"""
INTERPOLATION = """
_grid_sampler_2d_cpu_fallback _upsample_bicubic2d_aa _upsample_bilinear2d_aa
_upsample_lanczos2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d
_upsample_nearest_exact3d affine_grid_generator grid_sampler_2d grid_sampler_3d
upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
upsample_nearest3d upsample_trilinear3d
"""
UNTAGGED = frozenset(
    " ".join(
        (MOVES, DRAWS, REDUCTIONS, ELEMENT_WISE, NORMS, LOSSES, POOLING, INTERPOLATION)
    ).split()
)


class FlopCounter(TorchDispatchMode):
    """Counts the operations of everything that runs in its context.

    Attributes:
        flops: The operations of all products.
        parts: Those of each part that `attributed` has marked.
        uncounted: The names of operations that take part in the arithmetic and are not counted.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # in torch
        self.flops = 0
        self.parts: Counter[int] = Counter()
        self.uncounted: set[str] = set()
        self._part: int | None = None  # that is running

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, and count it or keep its name."""
        named = kwargs or {}
        formula = FORMULAS.get(_name(func))
        if formula is None and isinstance(func, torch._ops.OpOverload):
            with self:  # an operation that torch composes of others is counted by these
                composed = func.decompose(*args, **named)
            if composed is not NotImplemented:
                return composed
        output = func(*args, **named)
        tensors = [leaf for leaf in tree_leaves((args, named)) if isinstance(leaf, Tensor)]
        if formula and any(tensor.layout is not torch.strided for tensor in tensors):
            self.uncounted.add(f"{_name(func)} of sparse tensors")
        elif formula:
            complex_numbers = any(tensor.is_complex() for tensor in tensors)
            self._add(formula(args, output) * (4 if complex_numbers else 1))
        elif not _is_free(func, tensors):
            self.uncounted.add(_name(func))
        return output

    def attributed(self, part: int, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return a function whose operations, forward and backward, are those of a part too."""

        def call(*inputs: Any) -> Tensor:
            self._enter(part)
            output = function(*inputs)
            self._enter(None)
            for node in _nodes(output, inputs):
                node.register_prehook(lambda _: self._enter(part))
                node.register_hook(lambda *_: self._enter(None))
            return output

        return call

    def _enter(self, part: int | None) -> None:
        self._part = part

    def _add(self, flops: int) -> None:
        self.flops += flops
        if self._part is not None:
            self.parts[self._part] += flops


@contextmanager
def unfused() -> Iterator[None]:
    """Switch off torch's fused kernels, which hide the operations they are made of."""
    fused = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]  # in torch
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused[0])
        torch.backends.mkldnn.enabled = fused[1]


def _nodes(output: Tensor, inputs: Sequence[Any]) -> set[Node]:
    """Return the nodes of the backward pass from an output to the inputs it was computed from."""
    ends = {tensor.grad_fn for tensor in inputs if isinstance(tensor, Tensor)}
    nodes: set[Node] = set()
    waiting = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in ends and node not in nodes:
            nodes.add(node)
            waiting += [before for before, _ in node.next_functions]
    return nodes


def _name(func: Any) -> str:
    """Return the name of an operation without its overload and in-place mark: aten.add."""
    if not isinstance(func, torch._ops.OpOverload):
        return str(func)
    return f"{func.namespace}.{func.overloadpacket.__name__.removesuffix('_')}"


def _is_free(func: Any, tensors: Sequence[Tensor]) -> bool:
    """Return whether an operation of torch's own has no product in it."""
    if not isinstance(func, torch._ops.OpOverload) or func.namespace not in NAMESPACES:
        return False
    if not tensors or func.is_view or TAGS & set(func.tags):
        return True
    return _is_free_name(func.overloadpacket.__name__)


def _is_free_name(name: str) -> bool:
    base = name.removeprefix("_foreach_")
    for suffix in SUFFIXES:
        base = base.removesuffix(suffix)
    return any(each in UNTAGGED or _is_tagged(each) for each in (name, base))


def _is_tagged(name: str) -> bool:
    """Return whether any overload of torch's operation of that name is tagged as no product."""
    packet = getattr(torch.ops.aten, name, None)
    overloads = [getattr(packet, overload) for overload in packet.overloads()] if packet else []
    return any(overload.is_view or TAGS & set(overload.tags) for overload in overloads)


def _product(first: int) -> Callable[[Arguments, Any], int]:
    """Return the formula of a product of a matrix, or a batch of them, and what follows it.

    Args:
        first: The place of the matrix among the arguments.
    """

    def formula(args: Arguments, _: Any) -> int:
        left: Tensor = args[first]
        right: Tensor = args[first + 1]
        return 2 * left.numel() * (right.shape[-1] if right.dim() > 1 else 1)

    return formula


def _outer(args: Arguments, output: Tensor) -> int:
    return 2 * output.numel()


def _convolution(args: Arguments, output: Tensor) -> int:
    """Count convolution(inputs, weight, bias, stride, padding, dilation, transposed, ...)."""
    inputs, weight, transposed = args[0], args[1], args[6]
    return _kernel_flops(weight, inputs if transposed else output)


def _convolution_backward(args: Arguments, _: Any) -> int:
    """Count the gradients of inputs and weight, each as much as the convolution itself."""
    gradient, inputs, weight, transposed = *args[:3], args[7]
    wanted: Sequence[bool] = args[10]
    return sum(wanted[:2]) * _kernel_flops(weight, inputs if transposed else gradient)


def _kernel_flops(weight: Tensor, pixels: Tensor) -> int:
    """Count a kernel (with the channels of one group) that is placed at every one of the pixels."""
    return 2 * weight.numel() * len(pixels) * math.prod(pixels.shape[2:])


def _attention(args: Arguments, _: Any) -> int:
    """Count the two products of attention(query, key, value, ...)."""
    return _attention_flops(*args[:3])


def _attention_backward(args: Arguments, _: Any) -> int:
    """Count the gradients of the two products for attention(gradient, query, key, value, ...)."""
    return 2 * _attention_flops(*args[1:4])


def _attention_flops(query: Tensor, key: Tensor, value: Tensor) -> int:
    return 2 * math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _trilinear(args: Arguments, _: Any) -> int:
    """Count sum(one * two * three), as torch computes it: two factors first, then the third."""
    one, two, three, expand_1, expand_2, expand_3, summed = args[:7]
    unrolled = args[7] if len(args) > 7 else 1
    factors = [
        _expanded(factor, axes)
        for factor, axes in ((one, expand_1), (two, expand_2), (three, expand_3))
    ]
    pair = [max(sizes) for sizes in zip(*factors[:2], strict=True)]
    left = [
        1 if axis in summed and factors[2][axis] == 1 else size for axis, size in enumerate(pair)
    ]
    whole = [max(sizes) for sizes in zip(left, factors[2], strict=True)]
    again = whole[unrolled] // pair[unrolled]  # the first product is repeated for every slice
    flops: int = 2 * (math.prod(pair) * again + math.prod(whole))
    return flops


def _expanded(tensor: Tensor, axes: Sequence[int]) -> list[int]:
    """Return the shape of a tensor with axes of one value inserted."""
    for axis in sorted(axes):
        tensor = tensor.unsqueeze(axis)
    return list(tensor.shape)


def _masked(args: Arguments, _: Any) -> int:
    """Count a product that has a mask of its own for every example."""
    mask: Tensor = args[0]
    return 2 * mask.numel()


FORMULAS: dict[str, Callable[[Arguments, Any], int]] = {
    **dict.fromkeys(("aten.mm", "aten.bmm", "aten.mv", "aten.dot", "aten.vdot"), _product(0)),
    **dict.fromkeys(("aten.addmm", "aten.baddbmm", "aten.addbmm", "aten.addmv"), _product(1)),
    "aten.addr": _outer,
    "aten.convolution": _convolution,
    "aten.convolution_backward": _convolution_backward,
    "aten._scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten._scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    "aten._trilinear": _trilinear,
    "gapwise.masked_weight_gradient": _masked,
}
