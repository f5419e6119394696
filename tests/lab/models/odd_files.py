"""Files that are not models, or broken or hostile models, each with the expected error."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from edge_client.face.head import Head
from tests.lab.models.glb import ModelWriter, packed
from tests.lab.models.own_head import arkit_shapes, own_head

FEW = ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight")
Change = Callable[[dict[str, Any]], None]


def small_model(head: Head) -> ModelWriter:
    """The head with three shapes, enough for a speaking face."""
    shapes = arkit_shapes(head)
    return own_head(head, {name: shapes[name] for name in FEW})


def odd_files(head: Head) -> dict[str, tuple[bytes, str]]:
    """Map of name to file contents and a pattern for the one-line error."""
    good = small_model(head).packed()
    text = good[20 : 20 + struct.unpack_from("<I", good, 12)[0]]
    binary = good[20 + len(text) + 8 :]

    def changed(change: Change) -> bytes:
        document = json.loads(text)
        change(document)
        return packed(document, binary)

    def with_number(number: float) -> bytes:
        document, numbers = json.loads(text), bytearray(binary)
        place = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]["bufferView"]
        struct.pack_into("<f", numbers, document["bufferViews"][place]["byteOffset"] + 12_000, number)
        return packed(document, bytes(numbers))

    def head_shapes(document: dict[str, Any], value: object) -> None:
        for primitive in document["meshes"][0]["primitives"]:
            primitive["targets"] = value

    return {
        "empty": (b"", r"0 bytes"),
        "wrong magic": (b"PK\x03\x04" + good[4:], r"does not begin with glTF"),
        "text": (text, r"glTF as text.*export"),
        "version 1": (good[:4] + struct.pack("<I", 1) + good[8:], r"glTF 1"),
        "truncated": (good[: len(good) // 2], r"cut short"),
        "header alone": (good[:12], r"cut short"),
        "JSON cut": (good[:12] + struct.pack("<I", 2**31) + good[16:], r"JSON chunk has"),
        "JSON broken": (packed({}, b"").replace(b"{}", b"{!"), r"cannot be read"),
        "JSON deep": (_raw(b"[" * 400_000), r"cannot be read"),
        "JSON with NaN": (_raw(b'{"nodes":[{"scale":[NaN,1,1]}]}'), r"NaN"),
        "JSON is a list": (_raw(b"[]"), r"no object"),
        "no mesh": (packed({"asset": {"version": "2.0"}}, b""), r"no mesh"),
        "NaN": (with_number(float("nan")), r"POSITION.*nan.*row 1000.*not finite"),
        "infinite": (with_number(float("-inf")), r"not finite"),
        "loop": (changed(lambda d: d["nodes"][4].update(children=[1])), r"two parents|loop"),
        "own child": (changed(lambda d: d["nodes"][5].update(children=[5])), r"loop"),
        "child beyond": (changed(lambda d: d["nodes"][5].update(children=[99])), r"nodes\[5\].*0 to"),
        "corner beyond": (changed(_with_500_vertices), r"indices.*names \d+, and there are 500"),
        "view beyond": (changed(lambda d: d["bufferViews"][0].update(byteLength=2**30)), r"ends at byte"),
        "accessor beyond": (changed(lambda d: d["accessors"][0].update(byteOffset=60_000)), r"beyond its buffer view"),
        "count of billions": (changed(lambda d: d["accessors"][0].update(count=2_000_000_000)), r"count.*0 to"),
        "zeros without bytes": (changed(_without_bytes), r"more than \d+ vertices"),
        "negative offset": (changed(lambda d: d["bufferViews"][0].update(byteOffset=-8)), r"byteOffset.*0 to"),
        "text for a number": (changed(lambda d: d["nodes"][1].update(translation="up")), r"3 numbers"),
        "nodes are a number": (changed(lambda d: d.update(nodes=7)), r"no list"),
        "Draco": (changed(lambda d: d.update(extensionsRequired=["KHR_draco_mesh_compression"])), r"Draco.*gltf-transform copy"),
        "meshopt": (changed(lambda d: d.update(extensionsRequired=["EXT_meshopt_compression"])), r"meshopt.*gltf-transform copy"),
        "KTX2": (changed(lambda d: d.update(extensionsRequired=["KHR_texture_basisu"])), r"KTX2.*ktxdecompress"),
        "KTX2 alone": (changed(lambda d: d["textures"][0].pop("source")), r"KTX2.*ktxdecompress"),
        "unknown extension": (changed(lambda d: d.update(extensionsRequired=["ACME_hair"])), r"ACME_hair.*without"),
        "bytes elsewhere": (changed(lambda d: d["images"].__setitem__(0, {"uri": "../../etc/passwd"})), r"another file"),
        "no picture": (changed(lambda d: d["images"].__setitem__(0, {"bufferView": 3})), r"no PNG, JPEG or WebP"),
        "PNG of 5000×5000": (_with_picture(head, _png(5_000)), r"5000×5000.*4096"),
        "PNG of 60000×60000": (_with_picture(head, _png(60_000)), r"60000×60000.*4096|decompression bomb"),
        "PNG without its pixels": (_with_picture(head, _png(4_096)), r"no PNG, JPEG or WebP that can be read"),
        "PNG with much text": (_with_picture(head, _png(64, text_bytes=80 << 20)), r"no PNG, JPEG or WebP that can be read"),
        "WebP of 16383×16383": (_with_picture(head, _large_webp()), r"16383×16383.*4096|no PNG, JPEG or WebP|decompression bomb"),
        "no shapes": (changed(lambda d: head_shapes(d, [])), r"no shape opens its mouth.*jawOpen"),
        "empty shapes": (changed(lambda d: head_shapes(d, [{}, {}, {}])), r"no shape opens its mouth"),
        "scaled to nothing": (changed(lambda d: d["nodes"][0].update(scale=[0, 0, 0])), r"moves nothing|no shape opens"),
        "scaled beyond": (changed(lambda d: d["nodes"][0].update(scale=[1e25] * 3)), r"scaled beyond|not finite"),
        "joints beyond": (changed(lambda d: d["skins"][0].update(joints=[1])), r"JOINTS_0.*names 1"),
    }


def _raw(text: bytes) -> bytes:
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text


def _with_500_vertices(document: dict[str, Any]) -> None:
    document["accessors"][0]["count"] = 500
    del document["nodes"][5]["skin"]


def _png(side: int, *, text_bytes: int = 0) -> bytes:
    """A PNG that claims this size, without pixels; and a compressed text that unpacks to so many bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    squeezed = zlib.compressobj(9)
    text = b"Comment\0\0" + b"".join(squeezed.compress(bytes(1 << 20)) for _ in range(text_bytes >> 20)) + squeezed.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + (chunk(b"zTXt", text) if text_bytes else b"") + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def _large_webp() -> bytes:
    """A small picture that claims the largest size of the format."""
    file = io.BytesIO()
    Image.new("RGBA", (16, 16)).save(file, "WEBP", lossless=True)
    found = bytearray(file.getvalue())
    at = found.index(b"VP8L") + 9
    flags = struct.unpack_from("<I", found, at)[0] & 0xF0000000
    struct.pack_into("<I", found, at, flags | 16_382 | 16_382 << 14)
    return bytes(found)


def with_large_textures(head: Head, count: int) -> bytes:
    """A good model with so many small squares around the head, each with a material and a texture of 4096×4096 of its own."""
    model, file = own_head(head, arkit_shapes(head)), io.BytesIO()
    rows = np.arange(4096, dtype=np.uint32)
    Image.fromarray(np.stack([rows[:, None] + rows, rows[:, None] * 2 + 0 * rows, rows[:, None] ^ rows], axis=2).astype(np.uint8)).save(
        file, "PNG", compress_level=6
    )
    corner = np.array(((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)), np.float32)
    for place in range(count):
        turn = 2 * np.pi * place / count
        spots = 0.004 * corner + np.array((0.09 * np.sin(turn), 1.62 + 0.09 * np.cos(turn), -0.05), np.float32)
        picture = model.texture(file.getvalue(), "image/png")
        material = model.add("materials", {"name": f"M{place}", "pbrMetallicRoughness": {"baseColorTexture": {"index": picture}}})
        attributes = {"POSITION": model.accessor(spots), "TEXCOORD_0": model.accessor(np.ascontiguousarray(corner[:, :2]))}
        square = {"attributes": attributes, "indices": model.accessor(np.array((0, 1, 2, 0, 2, 3), np.uint16)), "material": material}
        mesh = model.add("meshes", {"name": f"S{place}", "primitives": [square]})
        model.json["scenes"][0]["nodes"].append(model.add("nodes", {"name": f"S{place}", "mesh": mesh}))
    return model.packed()


def _without_bytes(document: dict[str, Any]) -> None:
    """Many instances of vertices that occupy no bytes in the file."""
    document["accessors"].append({"componentType": 5126, "count": 300_000, "type": "VEC3"})
    document["meshes"].append({"primitives": [{"attributes": {"POSITION": len(document["accessors"]) - 1}}]})
    document["nodes"] += [{"mesh": len(document["meshes"]) - 1}] * 1000


def _with_picture(head: Head, picture: bytes) -> bytes:
    model = small_model(head)
    model.json["images"][0]["bufferView"] = model.view(picture)
    return model.packed()


def y_and_z_up(scale: float) -> np.ndarray:
    """A root matrix that rotates the model to z up, and scales it."""
    matrix = np.eye(4)
    matrix[:3, :3] = scale * np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    return matrix
