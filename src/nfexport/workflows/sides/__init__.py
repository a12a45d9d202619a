"""The two sides of a comparison: how they are written, opened and fed.

side_name       'model.onnx@openvino:threads=2' → what, where and how
opened_sides    what a name stands for: a file, a module, a recording
input_forms     arrays in the form of one side → in that of another
input_choice    the batches: seeded, or the user's own
graph_reference which side is computed in float64
"""
