"""The messages of Audio2Face-3D's `ProcessAudioStream` that we use, in a separate descriptor pool.

Field numbers and types are those of the PyPI packages `nvidia-audio2face-3d` 1.3.0 and `nvidia-ace` 1.0.0, whose generated code requires an
old grpcio; `scripts/a2f_check` compares the bytes of both. Only the fields that we write or read are declared: the rest (joints, cameras,
metadata of emotions) are unknown fields, which the parser skips.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Proto = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "bool": _Proto.TYPE_BOOL,
    "bytes": _Proto.TYPE_BYTES,
    "double": _Proto.TYPE_DOUBLE,
    "enum": _Proto.TYPE_INT32,  # the same bytes, and unknown values are preserved
    "float": _Proto.TYPE_FLOAT,
    "int32": _Proto.TYPE_INT32,
    "string": _Proto.TYPE_STRING,
    "uint32": _Proto.TYPE_UINT32,
}
_PACKAGE = "audio2face"


class _Field(NamedTuple):
    """One field. `kind` is a key of `_TYPES`, another message, or `map` (of text to float)."""

    number: int
    name: str
    kind: str
    label: str = ""
    """`repeated`, `optional`, or the name of its oneof."""


_MESSAGES: dict[str, tuple[_Field, ...]] = {
    "AudioHeader": (
        _Field(1, "audio_format", "enum"),
        _Field(2, "channel_count", "uint32"),
        _Field(3, "samples_per_second", "uint32"),
        _Field(4, "bits_per_sample", "uint32"),
    ),
    "EmotionPostProcessingParameters": (
        _Field(3, "enable_preferred_emotion", "bool", "optional"),
        _Field(4, "preferred_emotion_strength", "float", "optional"),
        _Field(5, "emotion_strength", "float", "optional"),
    ),
    "AudioWithEmotionStreamHeader": (
        _Field(1, "audio_header", "AudioHeader"),
        _Field(3, "emotion_post_processing_params", "EmotionPostProcessingParameters"),
    ),
    "EmotionWithTimeCode": (_Field(1, "time_code", "double"), _Field(2, "emotion", "map")),
    "AudioWithEmotion": (_Field(1, "audio_buffer", "bytes"), _Field(2, "emotions", "EmotionWithTimeCode", "repeated")),
    "EndOfAudio": (),
    "AudioWithEmotionStream": (
        _Field(1, "audio_stream_header", "AudioWithEmotionStreamHeader", "stream_part"),
        _Field(2, "audio_with_emotion", "AudioWithEmotion", "stream_part"),
        _Field(3, "end_of_audio", "EndOfAudio", "stream_part"),
    ),
    "SkelAnimationHeader": (_Field(1, "blend_shapes", "string", "repeated"),),
    "AnimationDataStreamHeader": (
        _Field(1, "audio_header", "AudioHeader"),
        _Field(2, "skel_animation_header", "SkelAnimationHeader"),
        _Field(3, "start_time_code_since_epoch", "double"),
    ),
    "FloatArrayWithTimeCode": (_Field(1, "time_code", "double"), _Field(2, "values", "float", "repeated")),
    "SkelAnimation": (_Field(1, "blend_shape_weights", "FloatArrayWithTimeCode", "repeated"),),
    "AudioWithTimeCode": (_Field(1, "time_code", "double"), _Field(2, "audio_buffer", "bytes")),
    "AnimationData": (_Field(1, "skel_animation", "SkelAnimation"), _Field(2, "audio", "AudioWithTimeCode")),
    "Event": (_Field(1, "event_type", "enum"),),
    "Status": (_Field(1, "code", "enum"), _Field(2, "message", "string")),
    "AnimationDataStream": (
        _Field(1, "animation_data_stream_header", "AnimationDataStreamHeader", "stream_part"),
        _Field(2, "animation_data", "AnimationData", "stream_part"),
        _Field(3, "event", "Event", "stream_part"),
        _Field(4, "status", "Status", "stream_part"),
    ),
}


def _build() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="audio2face.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in sorted(fields, key=lambda field: field.label == "optional"):  # synthetic oneofs must come last
            _add(message, field)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add(message: descriptor_pb2.DescriptorProto, field: _Field) -> None:
    repeated = field.label == "repeated" or field.kind == "map"
    declared = message.field.add(name=field.name, number=field.number, label=_Proto.LABEL_REPEATED if repeated else _Proto.LABEL_OPTIONAL)
    if field.kind in _TYPES:
        declared.type = _TYPES[field.kind]
    else:
        declared.type = _Proto.TYPE_MESSAGE
        declared.type_name = f".{_PACKAGE}.{_map_entry(message, field) if field.kind == 'map' else field.kind}"
    if field.label and not repeated:
        oneof = f"_{field.name}" if field.label == "optional" else field.label
        names = [known.name for known in message.oneof_decl]
        if oneof not in names:
            message.oneof_decl.add(name=oneof)
            names.append(oneof)
        declared.oneof_index = names.index(oneof)
        declared.proto3_optional = field.label == "optional"


def _map_entry(message: descriptor_pb2.DescriptorProto, field: _Field) -> str:
    entry = message.nested_type.add(name=f"{field.name.title()}Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_Proto.LABEL_OPTIONAL, type=_Proto.TYPE_STRING)
    entry.field.add(name="value", number=2, label=_Proto.LABEL_OPTIONAL, type=_Proto.TYPE_FLOAT)
    return f"{message.name}.{entry.name}"


_POOL = _build()


def message_class(name: str) -> Any:
    """The class of a message, by its name in `_MESSAGES`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


METHOD = "/nvidia_ace.services.a2f_controller.v1.A2FControllerService/ProcessAudioStream"
AudioStream = message_class("AudioWithEmotionStream")
"""The client's stream."""
AnimationStream = message_class("AnimationDataStream")
"""The service's stream."""
