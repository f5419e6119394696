"""The way to the relay and back: one gRPC stream, and another one when it ends."""
