"""From a folded float file to an int8 one: static, per channel, by ONNX Runtime's own quantiser.

    file ─calibration▶ images ─selection▶ nodes ─quantiser▶ graph ─equivalence▶ agreement ─operation▶ file

operation.py runs the steps in order; identity.py computes the digest of an int8 graph, which the recipe keeps.
"""
