"""Sources `spatius` and `spatialreal`: the unmodified Server SDKs of AvatarKit make the motion to our sound."""
