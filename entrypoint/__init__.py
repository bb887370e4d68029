"""The control plane: makes bucket, role, stream, function and event source mapping exist, and keeps them so."""
