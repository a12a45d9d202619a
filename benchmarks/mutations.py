"""How many wrong files the verifier notices, and how many a plain allclose check does; writes docs/mutations.md.

    python benchmarks/mutations.py [NETWORK …] [--every N] [--no-bisect] [-o docs/mutations.md]

Every fault of nfexport.verification.faults is put at every place of the exported networks. A fault has an effect if,
on eighteen images, it changes an output by more than rounding does: by more than the verifier allows a correct file,
measured against the file without the fault. The plain check is one standard normal input, and numpy.allclose at rtol
1e-3 and atol 1e-5. The numbers of each fault are written as JSON too; results of networks that are not named are
kept.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import nfexport
from nfexport.errors import NfexportError
from nfexport.recipe.recipe import Output
from nfexport.runtimes import open_session
from nfexport.sources import ModelSpec, load
from nfexport.verification.diagnosis.bisection import bisect, steps_of
from nfexport.verification.faults import Fault, all_faults, at_fault, inject
from nfexport.verification.faults.standardisation_faults import refolded
from nfexport.verification.input_cases import default_cases
from nfexport.verification.model_under_test import ImageModelUnderTest
from nfexport.verification.tolerance import default_tolerance, measure
from nfexport.verification.torch_reference import evaluate
from nfexport.verification.verifier import cases_for, compare_with
from nfexport.verification.weight_check import check_weights

NETWORKS = {
    "test_nfnet": {"size": 96, "fold_ws": True, "opset": 11},
    "test_nfnet, not folded": {"size": 96, "fold_ws": False, "opset": 17},
    "nf_regnet_b0": {"size": 96, "fold_ws": True, "opset": 11},
    "vit_tiny_r_s16_p8_224": {"size": 96, "fold_ws": True, "opset": 17},
}
OTHER_SEED = 1000
"""Whether a fault has an effect is measured on other images than those of the verifier."""


class Network:
    """An exported network, and what is computed once for all of its faults."""

    def __init__(self, title: str) -> None:
        settings = NETWORKS[title]
        name = title.partition(",")[0]
        self.loaded = load(ModelSpec(name=name, image_size=settings["size"]))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.onnx"
            nfexport.export(
                name,
                path,
                opset=settings["opset"],
                fold_ws=settings["fold_ws"],
                image_size=settings["size"],
                verify=False,
            )
            self.model = onnx.load(path)
        module = self.loaded.module
        self.under_test = ImageModelUnderTest(
            input_name="input",
            outputs=(Output(kind="logits", name="output"),),
            batch="dynamic",
            image_size=self.loaded.image_size,
            in_channels=3,
            preprocessing=self.loaded.preprocessing,
        )
        self.rule = default_tolerance("float32")
        self.cases = cases_for(self.under_test, 0)
        self.references = [evaluate(module, case.array, ["output"]) for case in self.cases]
        self.steps: dict[int, Any] = {}
        self.others = [case for seed in range(2) for case in self._other_cases(seed)]
        original = open_session(self.model.SerializeToString())
        self.original = [original.run({"input": case.array})["output"] for case in self.others]
        self.yardsticks = []
        for case in self.others:
            reference = evaluate(module, case.array, ["output"])
            self.yardsticks.append(measure(reference.float32["output"], reference.expected["output"]))
        self.random = np.random.default_rng(0).standard_normal((1, 3, *self.loaded.image_size)).astype(np.float32)
        self.expected = evaluate(module, self.random, ["output"]).float32["output"][0]

    def _other_cases(self, seed: int) -> list[Any]:
        return default_cases(
            seed=OTHER_SEED + seed,
            batch=3,
            in_channels=3,
            image_size=self.loaded.image_size,
            preprocessing=self.loaded.preprocessing,
        )

    def faults(self) -> Iterator[Fault]:
        """Yield every fault, wrong formulas of weight standardisation included."""
        yield from all_faults(self.model)
        raw = {
            f"{name}.weight": (module.weight.detach().numpy(), module.eps)
            for name, module in self.loaded.module.named_modules()
            if type(module).__name__.startswith(("StdConv", "ScaledStdConv"))
        }
        yield from refolded(self.model, raw)

    def judge(self, fault: Fault, *, locate: bool) -> dict[str, Any]:
        """Return whether each check notices this fault, and its error."""
        mutant = inject(self.model, fault)
        result: dict[str, Any] = {"kind": fault.kind, "node": fault.node, "effect": None}
        try:
            session = open_session(mutant.SerializeToString())
            result["effect"] = self._effect(session)
            result["allclose"] = self._allclose(session)
        except (NfexportError, RuntimeError) as error:
            return result | {"effect": "refused", "caught": True, "allclose": True, "reason": str(error)}
        cases = [
            result_of_output.comparison
            for case, reference in zip(self.cases, self.references, strict=True)
            for result_of_output in compare_with(reference, session, case, self.under_test, self.rule)
        ]
        worst = max(range(len(cases)), key=lambda index: cases[index].severity)
        weights = check_weights(self.loaded.module, mutant.SerializeToString())
        result["by_outputs"] = not all(comparison.passed for comparison in cases)
        result["by_weights"] = weights is not None and not weights.passed
        result["caught"] = result["by_outputs"] or result["by_weights"]
        result["excess"] = cases[worst].severity
        if locate and result["caught"]:
            foreign = frozenset() if weights is None else frozenset(weights.differing)
            result |= self._bisect(mutant, fault, self._case_of(worst), foreign)
        return result

    def _case_of(self, result: int) -> int:
        """Return the case that a result belongs to: batches of several images have two results."""
        owners = [index for index, case in enumerate(self.cases) for _ in range(1 + (case.batch > 1))]
        return owners[result]

    def _effect(self, session: Any) -> float:
        excess = 0.0
        for case, before, yardstick in zip(self.others, self.original, self.yardsticks, strict=True):
            after = session.run({"input": case.array})["output"]
            if after.shape != before.shape or not np.isfinite(after).all():
                return float("inf")
            judgement = self.rule.judge(after, before.astype(np.float64), yardstick)
            excess = max(excess, float(judgement.excess.max()))
        return excess

    def _allclose(self, session: Any) -> bool:
        actual = session.run({"input": self.random})["output"]
        return actual.shape != self.expected.shape or not np.allclose(actual, self.expected, rtol=1e-3, atol=1e-5)

    def _bisect(self, mutant: onnx.ModelProto, fault: Fault, case: int, foreign: frozenset[str]) -> dict[str, Any]:
        if case not in self.steps:
            self.steps[case] = steps_of(self.loaded.module, self.cases[case].array, self.under_test)
        array, steps = self.cases[case].array, self.steps[case]
        culprit = bisect(mutant, array, self.under_test, steps, foreign=foreign).culprit
        named = None if culprit is None else culprit.node
        return {"named": named, "located": named in at_fault(mutant, fault)}


def run(title: str, every: int, locate: bool) -> list[dict[str, Any]]:
    network = Network(title)
    faults = list(network.faults())[::every]
    started, results = time.monotonic(), []
    for number, fault in enumerate(faults):
        results.append({"network": title, **network.judge(fault, locate=locate)})
        if number % 100 == 99:
            print(f"{title}: {number + 1} of {len(faults)}, {time.monotonic() - started:.0f} s", flush=True)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--every", type=int, default=1, help="take each N-th fault only")
    parser.add_argument("--no-bisect", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/mutations.md"))
    options = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        rounds = pool.starmap(run, [(n, options.every, not options.no_bisect) for n in options.networks], chunksize=1)
    data = Path("benchmarks/results/mutations.json")
    kept = json.loads(data.read_text()) if data.exists() else []
    results = [result for result in kept if result["network"] not in options.networks]
    results += [result for results in rounds for result in results]
    results.sort(key=lambda result: list(NETWORKS).index(result["network"]))
    data.write_text("[\n" + ",\n".join(json.dumps(brief(result)) for result in results) + "\n]\n")
    from mutation_table import table

    options.output.write_text(table(results), encoding="utf-8")
    missed = [result for result in results if has_effect(result) and not result["caught"]]
    lost = [result for result in results if result["caught"] and result.get("located") is False]
    for result in (*missed, *lost):
        print(json.dumps(result, default=str))
    print(f"{len(results)} faults, {len(missed)} with an effect missed, {len(lost)} not located")
    return 1 if missed or lost else 0


def brief(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result with four digits, and without the node that was named where that was right."""
    return {
        key: float(f"{value:.4g}") if isinstance(value, float) else value
        for key, value in result.items()
        if not (key == "named" and result.get("located"))
    }


def has_effect(result: dict[str, Any]) -> bool:
    """Say whether a fault moves an output further than rounding may."""
    return result["effect"] == "refused" or result["effect"] > 1


if __name__ == "__main__":
    raise SystemExit(main())
