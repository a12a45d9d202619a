"""Write constants into a graph: computed in float64, rounded once, refused where rounding loses them."""

from __future__ import annotations

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.libraries import Array, ir, np

FEWEST_WEIGHTS = 16
"""Elements from which a stored tensor of floats counts as weights; smaller ones may be sizes, scales or exponents,
which stay Constant nodes and are not rounded at random."""


def round_once(exact: Array, dtype: ir.DataType, what: str) -> Array:
    """Round float64 numbers to the type, and return them.

    Raises PassError if one overflows, or if rounding loses more than one unit in the last place of the
    largest (numbers too small for the type)."""
    target = dtype.numpy()
    with np.errstate(over="ignore", under="ignore"):
        rounded: Array = np.asarray(exact, dtype=np.float64).astype(target)
    if relative_error(rounded, exact) <= float(np.finfo(target).eps):
        return rounded
    raise PassError(
        f"{what} cannot be held in {dtype}, where it over- or underflows",
        fix="do it on the float32 file, and lower the precision afterwards",
    )


def relative_error(rounded: Array, exact: Array) -> float:
    """Return the largest difference over the largest number; infinite if either is not finite."""
    largest = float(np.abs(exact).max(initial=0.0))
    error = float(np.abs(rounded.astype(np.float64) - exact).max(initial=0.0))
    if not np.isfinite(largest) or not np.isfinite(error):
        return float("inf")
    return error / largest if largest else 0.0


def set_constant(graph: ir.Graph, node: ir.Node, index: int, array: Array, *, named: str | None = None) -> ir.Value:
    """Replace a constant input of one node: other readers of the constant keep the old one.

    The initializer takes over the old name if nothing else needs it (an old IR version's default of an input
    ceases to be one), with a number behind it if a node is called the same and `named` does not insist on it. Without
    an old one it is called `named`."""
    old = node.inputs[index] if index < len(node.inputs) else None
    wanted = named or f"{node.name}/{index}"
    insists = False
    if old is not None:
        wanted = str(old.name)
        if not old.is_initializer() or old.is_graph_output() or len(old.uses()) > 1:
            wanted = f"{wanted}/changed"
        else:
            if old.is_graph_input():
                graph.inputs.remove(old)
            del graph.initializers[wanted]
            insists = wanted == named
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    value = edit.add_initializer(graph, wanted if insists else free_name(graph, wanted), array)
    node.replace_input_with(index, value)
    return value


def fixed_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Return the tensor behind a constant that the caller of the file cannot replace; None for anything else: an
    initializer that is an input of the graph too is only that input's default."""
    return None if value is None or value.is_graph_input() else edit.constant_tensor(value)


def stored_bytes(graph: ir.Graph) -> int:
    """Return how many bytes the initializers of a graph take."""
    return sum(value.const_value.nbytes for value in graph.initializers.values() if value.const_value is not None)


class FreeNames:
    """Gives names that no node, value or input of a graph has, and that it has not given before."""

    def __init__(self, graph: ir.Graph) -> None:
        self._taken = {*map(str, graph.initializers), *(str(value.name) for value in graph.inputs)}
        for node in graph.all_nodes():
            self._taken.add(str(node.name))
            self._taken.update(str(value.name) for value in node.outputs)
        self._next: dict[str, int] = {}

    def take(self, wanted: str) -> str:
        """Return the wanted name, with the first free number behind it if it is in use."""
        name, number = wanted, self._next.get(wanted, 1)
        while name in self._taken:
            name, number = f"{wanted}_{number}", number + 1
        self._next[wanted] = number
        self._taken.add(name)
        return name


def free_name(graph: ir.Graph, wanted: str) -> str:
    """Return one free name; see FreeNames, which is for several."""
    return FreeNames(graph).take(wanted)
