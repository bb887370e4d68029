"""The data plane: complete lines of the access log into the stream, at least once, in bounded memory."""
