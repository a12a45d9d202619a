"""The rules that compute operators, one file a family; see operator_table.py."""
