"""Fold weight standardisation into constant convolution weights.

    Conv(x, f(constants))  →  Conv(x, w'),   w' = f(constants)

f may consist of any operators: separate ReduceMean, Sub, Div and Sqrt, BatchNormalization in training form on a
reshaped weight, or a chain of Reshape, Cast and Transpose. It is evaluated in float64 and rounded once. For weight
standardisation f is w'[o] = gain[o]·scale·(w[o] − mean)/sqrt(var + eps), with mean and biased variance over all axes
but the first (arXiv:1903.10520, arXiv:2101.08692).

Tracing may leave f out and list the weights in model.meta[STANDARDISED] instead; they are standardised here, with
bit-identical results.

Ensures that no convolution with a weight computed from constants is left. Leaves alone, and names: a weight that is
not constant, or is quantised; a convolution inside If or Loop; a training-form BatchNormalization on activations. An
initializer that is also an input of the graph counts as constant; both are removed once nothing reads them.
Idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.constant_evaluation import ConstantEvaluator
from nfexport.graph.constants import relative_error, stored_bytes
from nfexport.graph.libraries import ir, np
from nfexport.graph.meta_keys import STANDARDISED
from nfexport.graph.recognisers import is_operator, is_training_batch_normalization, label
from nfexport.graph.standardisation import Standardisation, standardise
from nfexport.passes.base import Bundle, Pass, Stage
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome

CONVOLUTIONS = ("Conv", "ConvTranspose")


class FoldWeightStandardisation(Pass):
    """Fold weight standardisation into constant convolution weights.

    facts: the convolutions and tensors written; largest_weight_error (largest |rounded − exact| relative to the
    tensor's largest magnitude; None if no weight is computed here); bytes of all initializers before and after.
    Raises PassError if a constant weight cannot be evaluated or overflows its type."""

    name = "fold-ws"
    stage = Stage.FOLDS
    options = (Option(flag="--fold-ws", help="Fold weight standardisation into constant weights."),)
    implied_by = (Bundle.OPTIMIZE,)
    brings = ("fold-constants", "drop-expand", "static-shapes")
    formula = "Conv(x, f(constants))  →  Conv(x, w'),   w' = f(constants)"

    def call(self, model: ir.Model) -> PassOutcome:
        """Fold in place and report how many convolutions were folded."""
        graph = model.graph
        bytes_before = stored_bytes(graph) + _bytes_of_gains(model)
        folded: dict[ir.Value, ir.Value] = {}
        names: dict[ir.Value, str] = {}
        errors: list[float] = []
        convolutions, written = _standardise_named(model)
        evaluator = ConstantEvaluator(model)
        left_alone: dict[str, str] = {}
        for node, at_top in list(edit.nodes_with_subgraphs(graph)):
            if _normalises_activations(node, evaluator):
                left_alone[label(node)] = "it normalises activations with the statistics of the batch"
            if not is_operator(node, *CONVOLUTIONS) or node.inputs[1] is None:
                continue
            weight = node.inputs[1]
            if edit.is_literal(weight):
                continue
            if not at_top:
                left_alone[label(node)] = "it is inside the body of an If or Loop"
                continue
            if (reason := evaluator.why_not_constant(weight)) is not None:
                left_alone[label(node)] = f"its weight is not constant: {reason}"
                continue
            if weight not in folded:
                folded[weight], error = _fold(graph, evaluator, weight, node)
                errors.append(error)
                names[folded[weight]] = _source_name(weight)
            node.replace_input_with(1, folded[weight])
            edit.release(weight)  # now, so that the old and new weights are never all in memory at once
            convolutions.append(label(node))
        edit.remove_dead(model)
        _take_over_names(graph, names)
        return self.done(
            model,
            changed=len(convolutions),
            summary=_summary(len(convolutions), len(left_alone)),
            facts={
                "convolutions": convolutions,
                "tensors": [str(value.name) for value in (*written, *folded.values())],
                "largest_weight_error": max(errors, default=None),
                "weight_bytes_before": bytes_before,
                "weight_bytes_after": stored_bytes(graph),
            },
            left_alone=left_alone,
        )

    def ensures(self, model: ir.Model) -> None:
        """Raise PassError if a convolution still computes a weight that is constant."""
        if left := _unfolded(model.graph, ConstantEvaluator(model)):
            raise PassError(
                f"{len(left)} convolutions still compute their weight, the first is '{left[0]}'",
                fix="report the file: this is a bug in nfexport",
            )


def computed_weights(model: ir.Model) -> int:
    """Count the convolutions whose weight is computed in the graph from constants."""
    evaluator = ConstantEvaluator(model)
    return len(_unfolded(model.graph, evaluator))


def _normalises_activations(node: ir.Node, evaluator: ConstantEvaluator) -> bool:
    source = node.inputs[0] if is_training_batch_normalization(node) else None
    return source is not None and evaluator.why_not_constant(source) is not None


def _standardise_named(model: ir.Model) -> tuple[list[str], list[ir.Value]]:
    """Standardise the weights that tracing listed; return their convolutions and the new weights.

    Each is computed lazily from the original tensor, so no second copy is kept in memory."""
    graph = model.graph
    named = model.meta.pop(STANDARDISED, {})
    convolutions, written = [], []
    for node, _ in list(edit.nodes_with_subgraphs(graph)):
        weight = node.inputs[1] if is_operator(node, *CONVOLUTIONS) else None
        if weight is None or not weight.is_initializer() or str(weight.name) not in named:
            continue
        name = str(weight.name)
        how, gain = named.pop(name)
        tensor = _when_read(weight, how, gain, label(node))
        convolutions += [label(use.node) for use in weight.uses()]
        del graph.initializers[name]
        value = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=tensor.shape)
        graph.register_initializer(value)
        weight.replace_all_uses_with(value)
        written.append(value)
    if left := [name for name in named if name in graph.initializers and graph.initializers[name].uses()]:
        raise PassError(
            f"the weight '{left[0]}' was to be standardised, but no convolution reads it",
            fix="report the model: this is a bug in nfexport",
        )
    return convolutions, written


def _when_read(weight: ir.Value, how: Standardisation, gain: ir.TensorProtocol | None, node: str) -> ir.LazyTensor:
    """Return a lazy tensor that standardises, and rounds once, on every access.

    An access raises PassError if a number overflows the type."""
    source = weight.const_value
    assert source is not None

    def rounded() -> ir.TensorProtocol:
        array = source.numpy()
        result = np.empty_like(array, order="C")
        factors = None if gain is None else gain.numpy()
        for part, exact in standardise(array, factors, scale=how.scale, eps=how.eps):
            with np.errstate(over="ignore"):
                result[part] = exact
            if not np.isfinite(result[part]).all():
                raise _not_finite(node, source.dtype)
        return ir.Tensor(result, name=weight.name)

    return ir.LazyTensor(rounded, dtype=source.dtype, shape=ir.Shape(source.shape.numpy()), name=weight.name)


def _not_finite(node: str, dtype: ir.DataType) -> PassError:
    return PassError(
        f"the standardised weight of node '{node}' is not finite in {dtype}",
        fix="check the checkpoint for filters whose weights are all equal or not finite",
    )


def _bytes_of_gains(model: ir.Model) -> int:
    return sum(gain.nbytes for _, gain in model.meta.get(STANDARDISED, {}).values() if gain is not None)


def _fold(graph: ir.Graph, evaluator: ConstantEvaluator, weight: ir.Value, node: ir.Node) -> tuple[ir.Value, float]:
    """Return the new initializer and its rounding error."""
    exact = evaluator.evaluate(weight)
    dtype = _dtype(weight, node)
    with np.errstate(over="ignore"):
        rounded = exact.astype(dtype.numpy())
    if not np.isfinite(rounded.astype(np.float64)).all():
        raise _not_finite(label(node), dtype)
    value = edit.add_initializer(graph, f"{_source_name(weight)}/folded", rounded)
    return value, relative_error(rounded, exact)


def _dtype(weight: ir.Value, node: ir.Node) -> ir.DataType:
    """Return the type of the weight, even if shape inference does not know it."""
    value: ir.Value | None = weight
    while value is not None:
        if value.dtype is not None:
            return value.dtype
        producer = value.producer()
        if is_operator(producer, "Cast"):
            assert producer is not None
            return ir.DataType(producer.attributes["to"].as_int())
        value = producer.inputs[0] if producer is not None and producer.inputs else None
    told = node.inputs[0]
    return ir.DataType.FLOAT if told is None or told.dtype is None else told.dtype


def _source_name(weight: ir.Value) -> str:
    """Name a folded weight after the largest tensor that it was computed from."""
    sources = [value for value in edit.sources(weight) if value.is_initializer() and value.const_value is not None]
    largest = max(sources, key=lambda value: _size(value), default=weight)
    return str(largest.name)


def _size(value: ir.Value) -> int:
    assert value.const_value is not None
    return int(np.prod(value.const_value.shape.numpy(), dtype=np.int64))


def _take_over_names(graph: ir.Graph, names: dict[ir.Value, str]) -> None:
    outputs = {output.name for node in graph.all_nodes() for output in node.outputs}
    for value, name in names.items():
        if name not in graph.initializers and name not in outputs and value.is_initializer():
            old = str(value.name)
            value.name = name
            if old in graph.initializers:
                del graph.initializers[old]
                graph.register_initializer(value)


def _unfolded(graph: ir.Graph, evaluator: ConstantEvaluator) -> list[str]:
    return [
        label(node)
        for node in graph
        if is_operator(node, *CONVOLUTIONS)
        and node.inputs[1] is not None
        and not edit.is_literal(node.inputs[1])
        and evaluator.why_not_constant(node.inputs[1]) is None
    ]


def _summary(folded: int, left: int) -> str:
    if not folded and not left:
        return "no convolution computes its weight; nothing to fold"
    text = f"{folded} convolution weights folded into constants"
    return f"{text}, {left} left alone" if left else text
