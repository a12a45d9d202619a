"""The graph that each of many commands writes, kept as digests: proof that a change of the code changed no file.

    commands.py            the commands, as a user types them
    inputs.py              files that some of them read, made by other tools
    digest.py              what a graph is, in a few digests; it knows nothing of nfexport
    record.json            the digests, by the name of the command
    record.py              prints what differs from the record, and writes it anew
    test_same_graphs.py    holds every command to the record

The record was made before passes became classes. Two commands were recorded anew since, when passes learned to take
weights in Constant nodes: foreign-hybrid (the same numbers, some as initializers of other names) and
foreign-hybrid-batch (two Constant nodes fewer).

`python -m tests.same_graphs.record` says what differs. What is recorded holds for the versions of packages that
the record names: another torch writes other graphs.
"""
