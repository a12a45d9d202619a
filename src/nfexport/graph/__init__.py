"""The one way to hold a graph: onnx_ir's, and protobuf's where a file is read without its weights.

    files        model_reader, model_writer, header, wire_format, foreign_files, external_data, atomic_files, checker
    protobuf     proto_graphs, tensors, counts
    onnx_ir      edit, constants, constant_evaluation, shape_inference, value_facts, symbolic_shape, standardisation
    both         recognisers

Help pages read the passes, and so import parts of this package: `libraries` has numpy, onnx and onnx_ir, which are
imported at their first use.
"""
