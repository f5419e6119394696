"""Sources `spatius` and `spatialreal`: AvatarKit's unmodified Server SDKs generate the motion for our sound."""
