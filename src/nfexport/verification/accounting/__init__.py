"""Accounts for the numbers that a file stores: each is the module's own, computed from the module's, or a constant.

recording ──▶ constants and linear chains of the module ─┐
stored_numbers ──▶ tensors of the file ──────────────────┴─ accountant ──▶ WeightCheck
"""
