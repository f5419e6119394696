"""The relay over gRPC: one module for each service. Protobuf and grpc end here."""
