"""Where the batch lies in each tensor of a graph that was made for one batch size.

walk          goes through the graph once, and knows the axis of the batch in every value
rules         for each operator, which axis of its result holds the batch, or why the entries mix: axis_rules,
              joins, moves, products, reshape, targets; where an operator names the batch, it is rewritten
constants     writes constants anew
size_vectors  small vectors of sizes that the graph computes while it runs, at several batch sizes
proof         shape inference at several batch sizes
"""
