"""Check a file against the tables of targets, and in the runtimes that are installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx

from nfexport.errors import InputError, MissingPackage, OnnxFileError
from nfexport.graph.external_data import external_files
from nfexport.graph.proto_graphs import initializers
from nfexport.graph.recognisers import is_default_domain
from nfexport.graph.tensors import dtype_name, shape_of
from nfexport.targets.advice import Advisor
from nfexport.targets.findings import CheckResult, Effect, Finding, TargetCheck
from nfexport.targets.node_rules import depends_on_constants, problem_of
from nfexport.targets.table import ANY, Table, load, targets
from nfexport.targets.uses import Use, opset_of, read_model, uses


def check(path: str | Path, names: Sequence[str] = (), *, attempt: bool = True) -> CheckResult:
    """Return what each target does not support in an ONNX file from any producer, by the target's table.

    names are targets (see targets()), all of them if none is given. With attempt the file is also loaded in
    each target's runtime that is installed here, and a refusal is a finding. The file is read without its
    weights; the runtimes read it by its path.
    Raises InputError for an unknown target, and OnnxFileError if the file is missing, not an ONNX file, damaged,
    or lacks its external data."""
    path = Path(path)
    tables = [load(name) for name in dict.fromkeys(names or targets())]
    model = read_model(path)
    external_files(path, model)
    advisor = Advisor.of(path, model)
    found = list(uses(model))
    return CheckResult(
        path=path, targets=tuple(_check_one(path, model, table, found, advisor, attempt) for table in tables)
    )


def _check_one(
    path: Path, model: onnx.ModelProto, table: Table, found: Sequence[Use], advisor: Advisor, attempt: bool
) -> TargetCheck:
    findings = [
        *_limits(model, table, advisor),
        *_types(model, table),
        *(finding for use in found for finding in _node(use, table, advisor)),
    ]
    tried: str | None = None
    not_tried: str | None = "--no-try" if not attempt else "nfexport has no runtime for it"
    if attempt and table.runtime is not None:
        tried, not_tried, refusal = _attempt(path, table)
        findings += refusal
    return TargetCheck(
        target=table.name,
        title=table.title,
        version=table.version,
        source=table.source.url,
        findings=tuple(findings),
        tried=tried,
        not_tried=None if tried else not_tried,
    )


def _limits(model: onnx.ModelProto, table: Table, advisor: Advisor) -> Iterator[Finding]:
    limits = table.limits
    opset = opset_of(model.opset_import)
    what = f"{table.title} {table.version}"
    if limits.min_opset is not None and 0 < opset < limits.min_opset:
        problem = f"opset {opset} is older than {limits.min_opset}, the oldest that {what} supports"
        yield _of_file(table, problem, advisor.flag(f"--opset {limits.min_opset}"))
    if limits.max_opset is not None and opset > limits.max_opset:
        problem = f"opset {opset} is newer than {limits.max_opset}, the newest that {what} supports"
        yield _of_file(table, problem, advisor.flag(f"--opset {limits.max_opset}"))
    if limits.known_opset is not None and opset > limits.known_opset:
        problem = f"opset {opset} is newer than {limits.known_opset}, the newest that its table covers"
        yield _of_file(table, problem, advisor.flag(f"--opset {limits.known_opset}"), caution=True)
    if limits.max_ir_version is not None and model.ir_version > limits.max_ir_version:
        problem = (
            f"IR version {model.ir_version} is newer than {limits.max_ir_version}, the newest that {what} supports"
        )
        yield _of_file(table, problem, advisor.flag(f"--opset {opset} --no-verify"))
    if limits.dynamic is None:
        return
    stored = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        named = [size for size in shape_of(value) or () if isinstance(size, str)]
        if named and value.name not in stored:
            problem = f"the input '{value.name}' has the symbolic size {', '.join(named)}: {limits.dynamic}"
            yield _of_file(table, problem, advisor.flag("--batch 1"), caution=True)


def _types(model: onnx.ModelProto, table: Table) -> Iterator[Finding]:
    """Yield one finding for each unsupported element type, at the first tensor that has it."""
    if not table.limits.types:
        return
    graph = model.graph
    tensors = [(value.name, value.type.tensor_type.elem_type) for value in (*graph.input, *graph.value_info)]
    tensors += [(tensor.name, tensor.data_type) for tensor in initializers(graph)]
    tensors += [(value.name, value.type.tensor_type.elem_type) for value in graph.output]
    seen = set()
    for name, data_type in tensors:
        dtype = dtype_name(data_type)
        if data_type and dtype not in table.limits.types and dtype not in seen:
            seen.add(dtype)
            problem = f"the tensor '{name}' is {dtype}, an element type that {table.title} does not support"
            yield _of_file(table, problem, "export the model in float32, or in float16 with --precision fp16")


def _node(use: Use, table: Table, advisor: Advisor) -> Iterator[Finding]:
    refusal = _refusal(use, table)
    if refusal is not None:
        flag = table.flags.get(use.operator)
        fix = advisor.flag(flag) if flag is not None else advisor.cut(next(iter(use.node.input), ""))
        yield Finding(target=table.name, node=use.label, operator=use.operator, problem=refusal, fix=fix)
        return
    for rule in table.rules:
        problem = problem_of(rule, use)
        if problem is None:
            continue
        flag = rule.flag
        if rule.flag_of_constants is not None and depends_on_constants(use):
            flag = rule.flag_of_constants
        yield Finding(
            target=table.name,
            node=use.label,
            operator=use.operator,
            problem=problem,
            fix=advisor.flag(flag) if flag else rule.advice or advisor.cut(next(iter(use.node.input), "")),
            effect=rule.effect,
        )


def _refusal(use: Use, table: Table) -> str | None:
    operator = use.node.op_type
    if not is_default_domain(use.node):
        domain = table.domains.get(use.node.domain)
        if domain is None:
            return f"{table.title} supports no operators of the domain {use.node.domain}"
        return None if operator in domain or ANY in domain else f"{table.title} does not support it"
    known = table.operators
    if operator not in known.supported:
        return f"{table.title} does not support it"
    if use.opset < known.since.get(operator, 0):
        return f"{table.title} supports it from opset {known.since[operator]} on, and the file has opset {use.opset}"
    if use.opset > known.until.get(operator, use.opset):
        return f"{table.title} supports it up to opset {known.until[operator]}, and the file has opset {use.opset}"
    return None


def _attempt(path: Path, table: Table) -> tuple[str | None, str | None, list[Finding]]:
    """Return which runtime was tried, or why none was, and what it refused."""
    from nfexport.runtimes import open_session

    assert table.runtime is not None
    try:
        session = open_session(path, runtime=table.runtime)
    except MissingPackage as error:
        return None, error.problem, []
    except OnnxFileError as error:
        fix = "correct what is listed for its nodes; if nothing is listed, try another opset with --opset"
        return table.runtime, None, [_of_file(table, error.problem, fix)]
    except InputError as error:
        return None, error.problem, []
    return f"{session.runtime} {session.version}", None, []


def _of_file(table: Table, problem: str, fix: str, *, caution: bool = False) -> Finding:
    effect: Effect = "caution" if caution else "refused"
    return Finding(target=table.name, node=None, operator=None, problem=problem, fix=fix, effect=effect)
