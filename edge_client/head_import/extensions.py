"""The glTF extensions that a model requires. Pure."""

from __future__ import annotations

from edge_client.errors import ModelError
from edge_client.head_import.document import Document, listed, printable

_UNDERSTOOD = frozenset(
    {
        *("EXT_texture_webp", "KHR_materials_unlit", "KHR_mesh_quantization", "KHR_texture_transform", "VRM", "VRMC_vrm"),
        *("VRMC_materials_mtoon", "VRMC_springBone", "VRMC_node_constraint", "KHR_materials_specular", "KHR_materials_ior"),
        *("KHR_materials_clearcoat", "KHR_materials_sheen", "KHR_materials_transmission", "KHR_materials_emissive_strength"),
        *("KHR_lights_punctual", "KHR_animation_pointer"),
    }
)
"""Supported, or without effect on the shape of a head."""
_ADVICE = {
    "KHR_draco_mesh_compression": "its mesh is compressed with Draco; decompress it: gltf-transform copy model.glb plain.glb",
    "EXT_meshopt_compression": "its mesh is compressed with meshopt; decompress it: gltf-transform copy model.glb plain.glb",
    "KHR_meshopt_compression": "its mesh is compressed with meshopt; decompress it: gltf-transform copy model.glb plain.glb",
    "KHR_texture_basisu": "its textures are KTX2 (Basis Universal); decompress them: gltf-transform ktxdecompress model.glb plain.glb",
}


def check_extensions(document: Document) -> None:
    """Raise `ModelError` if the model requires an unsupported extension."""
    for name in listed(document.root, "extensionsRequired", "extensionsRequired"):
        if name in _UNDERSTOOD:
            continue
        text = _ADVICE.get(name) if isinstance(name, str) else None
        raise ModelError(text or f"it requires the extension {printable(str(name))}, which is not read; export it without")
