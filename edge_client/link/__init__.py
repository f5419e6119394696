"""The connection to the relay: one gRPC stream, reopened whenever it ends."""
