"""What an exported program may call and compute with, where its file is not trusted.

Names in a file choose functions by attribute look-up, so that only a list of names can be safe. The
list has what networks are made of; every entry checks its arguments, reads no file and keeps no
state. An operator that is missing here is refused by name, and `--trust-checkpoint` lets it in.
"""

from __future__ import annotations

import ast
import re

#: Operators of `torch.ops.aten`, in every overload, in place (`add_`) as well.
_ATEN = """
    abs acos acosh adaptive_avg_pool1d adaptive_avg_pool2d add addbmm addcdiv addcmul addmm addmv
    alias all amax amin angle any arange arctan2 argmax argmin argsort as_strided asin asinh atan
    atan2 atanh avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bitwise_and bitwise_not
    bitwise_or bitwise_xor bmm broadcast_tensors broadcast_to bucketize cat ceil celu channel_shuffle
    chunk clamp clamp_max clamp_min clip clone col2im complex concat concatenate conj conj_physical
    constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d convolution copy cos cosh cross cummax cummin cumprod cumsum deg2rad detach diag
    diag_embed diagonal diff div divide dot dropout einsum elu embedding empty empty_like
    empty_permuted empty_strided eq erf erfc erfinv exp exp2 expand expand_as expm1 eye fft_fft
    fft_fft2 fft_fftfreq fft_fftn fft_fftshift fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ifftshift
    fft_ihfft fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftfreq fft_rfftn fill flatten
    flip fliplr flipud floor floor_divide fmax fmin fmod frac full full_like gather ge gelu glu
    greater greater_equal grid_sampler grid_sampler_2d group_norm gt hardshrink hardsigmoid hardswish
    hardtanh heaviside hstack hypot im2col imag index index_add index_copy index_fill index_put
    index_select inner instance_norm isclose isfinite isinf isnan isneginf isposinf kron layer_norm
    le leaky_relu lerp less less_equal lgamma lift lift_fresh lift_fresh_copy linalg_cross
    linalg_matmul linalg_matrix_norm linalg_norm linalg_vecdot linalg_vector_norm linear linspace log
    log10 log1p log2 log_sigmoid log_softmax logaddexp logical_and logical_not logical_or logical_xor
    logit logsumexp lt mH mT masked_fill masked_scatter matmul max max_pool1d max_pool2d
    max_pool2d_with_indices max_pool3d maximum mean meshgrid min minimum mish mm moveaxis movedim mul
    multiply mv nan_to_num nanmean nansum narrow native_group_norm native_layer_norm ne neg negative
    new_empty new_empty_strided new_full new_ones new_zeros nonzero norm not_equal numpy_T one_hot
    ones ones_like outer pad permute pixel_shuffle pixel_unshuffle polar positive pow prelu prod
    rad2deg ravel real reciprocal reflection_pad1d reflection_pad2d reflection_pad3d relu relu6
    remainder repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape
    reshape_as resolve_conj resolve_neg rms_norm roll rot90 round rsqrt rsub scalar_tensor
    scaled_dot_product_attention scatter scatter_add scatter_reduce select select_scatter selu sgn
    sigmoid sign signbit silu sin sinc sinh slice slice_scatter softmax softplus softshrink sort
    split split_with_sizes sqrt square squeeze stack std sub subtract sum swapaxes swapdims sym_numel
    sym_size sym_storage_offset sym_stride t take take_along_dim tan tanh tensor_split tensordot
    threshold tile to topk transpose tril tril_indices triu triu_indices true_divide trunc type_as
    unbind unflatten unfold unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze
    upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
    upsample_nearest3d upsample_trilinear3d var var_mean view view_as view_as_complex view_as_real
    vstack where xlogy zero zeros zeros_like
    bernoulli native_dropout normal rand rand_like randint randint_like randn randn_like randperm
    _adaptive_avg_pool2d _assert_scalar _assert_tensor_metadata _conj _fft_c2c _fft_c2r _fft_r2c
    _log_softmax _native_batch_norm_legit_no_training _scaled_dot_product_efficient_attention
    _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu _softmax _to_copy
    _unsafe_view
"""

#: Arithmetic of sizes, and regions of a graph that change what autograd or autocast does.
_OTHERS = """
    _operator.add _operator.sub _operator.mul _operator.floordiv _operator.truediv _operator.mod
    _operator.neg _operator.eq _operator.ne _operator.lt _operator.le _operator.gt _operator.ge
    _operator.and_ _operator.or_ math.trunc torch.sym_not torch.sym_int torch.sym_float torch.sym_max
    torch.sym_min torch.sym_ite
    torch.ops.higher_order.wrap_with_autocast torch.ops.higher_order.wrap_with_set_grad_enabled
"""

_ATEN_NAMES = frozenset(_ATEN.split())
_OTHER_TARGETS = frozenset(_OTHERS.split())
_ATEN_TARGET = re.compile(r"torch\.ops\.aten\.([A-Za-z0-9_]+)\.[A-Za-z0-9_]+")


def is_allowed(target: str) -> bool:
    """Whether a node of an untrusted program may call this."""
    if target in _OTHER_TARGETS:
        return True
    found = _ATEN_TARGET.fullmatch(target)
    if found is None:
        return False
    name = found[1]
    return name in _ATEN_NAMES or name.removesuffix("_") in _ATEN_NAMES


#: What sizes may be made of; everything here has a result of the size of its arguments.
_FUNCTIONS = """
    Mul Add FloorDiv CeilDiv CleanDiv Mod PythonMod ModularIndexing Max Min Eq Ne Lt Le
    Gt Ge Equality Unequality StrictLessThan LessThan StrictGreaterThan GreaterThan And Or Not
"""
_FUNCTION_NAMES = frozenset(_FUNCTIONS.split())
_FLAGS = frozenset({"positive", "integer", "nonnegative", "evaluate"})
_SYMBOL = re.compile(r"[a-z]{1,4}[0-9]{1,5}")
_LONGEST_EXPRESSION = 2000
_LARGEST_SIZE = 2**62


def is_symbol(name: str) -> bool:
    """Whether this is what torch calls a size that is not fixed, such as s0."""
    return _SYMBOL.fullmatch(name) is not None


def is_plain_expression(text: str) -> bool:
    """Whether an expression of sizes is arithmetic and nothing else; reading it runs nothing.

    torch gives such texts to a parser that evaluates them as Python.
    """
    if len(text) > _LONGEST_EXPRESSION:
        return False
    try:
        return _is_plain(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_plain(node: ast.expr) -> bool:
    match node:
        case ast.Call(ast.Name("Symbol"), [ast.Constant(str(name))], flags):
            return is_symbol(name) and all(map(_is_flag, flags))
        case ast.Call(ast.Name("Integer"), [number], []):
            return _is_integer(number)
        case ast.Call(ast.Name(name), arguments, flags):
            plain = all(map(_is_plain, arguments)) and all(map(_is_flag, flags))
            return name in _FUNCTION_NAMES and bool(arguments) and plain
        case ast.Name(name):
            return is_symbol(name)
    return False


def _is_integer(node: ast.expr) -> bool:
    match node:
        case ast.UnaryOp(ast.USub(), ast.Constant(value)) | ast.Constant(value):
            return type(value) is int and value < _LARGEST_SIZE
    return False


def _is_flag(flag: ast.keyword) -> bool:
    return (
        flag.arg in _FLAGS
        and isinstance(flag.value, ast.Constant)
        and type(flag.value.value) is bool
    )
