"""From a folded float file to an int8 one: static, per channel, by ONNX Runtime's own quantiser.

    file ─calibration▶ pictures ─choosing▶ nodes ─quantiser▶ graph ─proving▶ measuring ─operation▶ file

operation.py is the spine; identity.py gives the graph of an int8 file a digest, which its recipe keeps.
"""
