"""The structure of the wire format, beyond `buf lint` and `buf breaking` (run by `scripts/lint`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet
from google.rpc import status_pb2

from avatar_relay.v1 import admin_service_pb2, device_service_pb2, media_pb2, pairing_service_pb2, publisher_service_pb2
from tests.lab.data import PROJECT_ROOT

FILES: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR for module in (media_pb2, device_service_pb2, publisher_service_pb2, admin_service_pb2, pairing_service_pb2)
)
STREAMED = ("AttachRequest", "AttachResponse", "PublishRequest", "PublishResponse", "PairRequest", "PairResponse")
PROTO = PROJECT_ROOT / "proto"
BASELINE = PROTO / "baseline.binpb"
NO_NETWORK = {name: "http://127.0.0.1:9" for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}


def all_messages() -> Iterator[Descriptor]:
    """Every message, including nested ones."""
    waiting = [message for file in FILES for message in file.message_types_by_name.values()]
    while waiting:
        message = waiting.pop()
        yield message
        waiting.extend(message.nested_types)


def all_enums() -> Iterator[EnumDescriptor]:
    """Every enumeration."""
    for file in FILES:
        yield from file.enum_types_by_name.values()
    for message in all_messages():
        yield from message.enum_types


def message_named(name: str) -> Descriptor:
    """A message of the package."""
    (found,) = (message for message in all_messages() if message.full_name == f"avatar_relay.v1.{name}")
    return found


@pytest.mark.parametrize("name", STREAMED)
def test_streamed_message_is_one_oneof(name: str) -> None:
    """Each message then has one meaning, and takes effect in stream order."""
    message = message_named(name)
    (oneof,) = message.oneofs
    assert list(oneof.fields) == list(message.fields)


@pytest.mark.parametrize("enum", list(all_enums()), ids=lambda enum: str(enum.name))
def test_enum_begins_with_unspecified(enum: EnumDescriptor) -> None:
    """0 means unset."""
    assert enum.values[0].number == 0
    assert enum.values[0].name.endswith("_UNSPECIFIED")


def test_both_legs_carry_the_same_media() -> None:
    """A payload contains nothing that differs by device, so it is encoded once for any number of devices."""
    to_device = message_named("AttachResponse").fields_by_name["media"].message_type
    from_publisher = message_named("PublishRequest").fields_by_name["media"].message_type
    assert to_device is from_publisher
    assert "device_id" not in message_named("Payload").fields_by_name


def test_later_fields_are_reserved() -> None:
    """Numbers reserved for the microphone and for synchronized start are not reused."""
    attach = DescriptorProto()
    message_named("AttachRequest").CopyToProto(attach)
    opening = DescriptorProto()
    message_named("ConversationOpen").CopyToProto(opening)
    assert "uplink" in attach.reserved_name
    assert [(kept.start, kept.end) for kept in attach.reserved_range] == [(16, 20)]
    assert "start_at" in opening.reserved_name


def test_units_are_in_names() -> None:
    """A time or a size on the wire names its unit; timestamps of one name never differ in unit."""
    vague = ("time", "duration", "position", "size", "length", "timeout", "rate", "after")
    assert [f"{message.name}.{field.name}" for message in all_messages() for field in message.fields if field.name.endswith(vague)] == []


def test_stubs_are_those_of_the_sources(tmp_path: Path) -> None:
    """The generated modules match the current .proto files."""
    image = tmp_path / "image.binpb"
    script = PROJECT_ROOT / "scripts" / "compile_protos.py"
    subprocess.run([sys.executable, str(script), "--descriptor-set", str(image)], check=True, capture_output=True, timeout=50)
    compiled = {file.name: file for file in FileDescriptorSet.FromString(image.read_bytes()).file}
    for file in FILES:
        source = compiled[file.name]
        source.ClearField("source_code_info")
        for message in source.message_type:
            _drop_json_names(message)
        stub = type(source)()
        file.CopyToProto(stub)
        for message in stub.message_type:
            _drop_json_names(message)
        assert stub == source, f"{file.name}: run scripts/compile_protos.py"


def _drop_json_names(message: DescriptorProto) -> None:
    """protoc writes them into images but not into stubs; they are derived from the names."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        _drop_json_names(nested)


def test_baseline_holds_our_files_alone() -> None:
    """The baseline of `buf breaking`: all our services, no source comments."""
    baseline = FileDescriptorSet.FromString(BASELINE.read_bytes())
    ours = [file for file in baseline.file if file.package == "avatar_relay.v1"]
    assert {service.name for file in ours for service in file.service} == {"DeviceService", "PublisherService", "AdminService"}
    assert not any(file.HasField("source_code_info") for file in ours)


@pytest.fixture(scope="module")
def copy_of_proto(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that a user of another language copies: `buf.yaml` and the .proto files, nothing else."""
    folder = tmp_path_factory.mktemp("alone") / "proto"
    for path in [PROTO / "buf.yaml", *PROTO.rglob("*.proto")]:
        (folder / path.relative_to(PROTO)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.relative_to(PROTO))
    return folder


@pytest.mark.parametrize(
    "arguments", [("build",), ("lint",), ("breaking", "--against", str(BASELINE))], ids=lambda arguments: str(arguments[0])
)
def test_buf_takes_the_proto_files_alone(copy_of_proto: Path, arguments: tuple[str, ...]) -> None:
    """`buf` needs no module registry, no other folder, and none of our scripts."""
    buf = str(Path(sys.executable).with_name("buf"))
    done = subprocess.run(
        [buf, *arguments], cwd=copy_of_proto, env={**os.environ, **NO_NETWORK}, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_protoc_needs_one_include_path(copy_of_proto: Path, tmp_path: Path) -> None:
    """protoc for Python, with `-Iproto` only, in a folder without our other files."""
    files = [str(path.relative_to(copy_of_proto)) for path in (copy_of_proto / "avatar_relay").rglob("*.proto")]
    command = [sys.executable, "-P", "-m", "grpc_tools.protoc", f"-I{copy_of_proto}", "--python_out=.", "--grpc_python_out=.", *files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.rglob("*_pb2_grpc.py"))) == len(files) == len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_other_languages_get_names_of_their_own(file: FileDescriptor) -> None:
    """Go, Java and C# code is generated into our own package."""
    options = file.GetOptions()
    assert options.go_package == "avatar_relay/v1;avatarrelayv1"
    assert (options.java_package, options.java_multiple_files) == ("avatarrelay.v1", True)
    assert options.csharp_namespace == "AvatarRelay.V1"


def test_vendored_files_are_those_of_the_package_that_python_uses() -> None:
    """Google's declarations unchanged, with their licence beside them."""
    installed = Path(status_pb2.__file__).parent
    vendored = PROTO / "google" / "rpc"
    for name in ("status.proto", "error_details.proto"):
        assert _declarations(vendored / name) == _declarations(installed / name)
    assert "Apache License" in (vendored / "LICENSE").read_text(encoding="utf-8")


def _declarations(path: Path) -> list[str]:
    """The lines of a file without its comments, which change with each release."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("//")]
