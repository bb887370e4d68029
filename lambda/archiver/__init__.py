"""What the function does with a batch of records; `index` is the entry point.

event (records and their lines) → parse (a line becomes an entry) → filing (which object it belongs to) → archive
(append to that object exactly once, with the help of the ledger kept in it).
"""
