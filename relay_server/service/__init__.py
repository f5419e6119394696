"""The relay's gRPC services, one module each. `connections` and `core` use neither protobuf nor grpc."""
