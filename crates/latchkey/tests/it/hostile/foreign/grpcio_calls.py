"""Calls the services with `grpcio`, knowing nothing about them but their addresses: what there is to call comes from
reflection. Prints what was answered, or the status and the reason of a refusal."""

import json
import pathlib
import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

TIMEOUT = 20

given = json.load(sys.stdin)


def read(folder, name):
    return pathlib.Path(folder, name).read_bytes()


def channel(service, name=None, folder=None):
    """To a service with the certificate of `name`, or with none."""
    address = given["services"][service][0].removeprefix("https://")
    pair = {}
    if name is not None:
        folder = folder or given["certificates"]
        pair = {"private_key": read(folder, f"{name}.key"), "certificate_chain": read(folder, f"{name}.crt")}
    credentials = grpc.ssl_channel_credentials(root_certificates=read(given["certificates"], "ca.crt"), **pair)
    options = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
    return grpc.secure_channel(address, credentials, options)


class Reflected:
    """The messages and methods of one service process."""

    def __init__(self, service):
        self.database = ProtoReflectionDescriptorDatabase(channel(service, "operator"))
        self.pool = descriptor_pool.DescriptorPool(self.database)

    def call(self, channel, method, members):
        service, name = method.split("/")
        described = self.pool.FindServiceByName(service).FindMethodByName(name)
        request = message_factory.GetMessageClass(described.input_type)
        answer = message_factory.GetMessageClass(described.output_type)
        stub = channel.unary_unary(
            f"/{method}", request_serializer=request.SerializeToString, response_deserializer=answer.FromString
        )
        return stub(request(**members), timeout=TIMEOUT)


def reason(error):
    """The reason in `google.rpc.ErrorInfo`, whose first field it is, found without its definition."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    known = [b"CALLER_NOT_LISTED", b"USER_NOT_FOUND"]
    return next((name.decode() for name in known if name in details), None)


def refused(call):
    try:
        call()
        return "answered"
    except grpc.RpcError as error:
        return [error.code().name, reason(error)]


def enum(message, member):
    field = message.DESCRIPTOR.fields_by_name[member]
    return {member: field.enum_type.values_by_number[getattr(message, member)].name}


auth, session, policy = (Reflected(name) for name in ("auth", "session", "policy"))
services = {"auth": auth, "session": session, "policy": policy}
at_auth, at_policy = channel("auth", "operator"), channel("policy", "operator")

user = auth.call(at_auth, "latchkey.auth.v1.UserReadService/GetUser", {"username": given["username"]}).user
users = auth.call(at_auth, "latchkey.auth.v1.UserReadService/ListUsers", {}).users
question = {"subject": {"kind": "SUBJECT_KIND_USER", "id": user.id}, "resource": {"kind": "document", "id": "42"}}
check = "latchkey.policy.v1.CheckService/Check"
read_first = "latchkey.auth.v1.TokenReadService/GetKeySet"
health = {"auth": read_first, "session": "latchkey.session.v1.SessionReadService/ListSessions", "policy": check}


def anything(service, channel):
    return lambda: services[service].call(channel, health[service], {})


def without_tls(service):
    address = given["services"][service][0].removeprefix("https://")
    return grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)])


login = {"identifier": given["username"], "password": given["password"], "mode": "LOGIN_MODE_TOKEN"}

json.dump(
    {
        "listed": {name: list(service.database.get_services()) for name, service in services.items()},
        "user": {"username": user.username},
        "users": [user.username for user in users],
        "check": enum(policy.call(at_policy, check, {"permission": "document:read", **question}), "decision"),
        "denied": enum(policy.call(at_policy, check, {"permission": "document:write", **question}), "decision"),
        "unknown_user": refused(
            lambda: auth.call(at_auth, "latchkey.auth.v1.UserReadService/GetUser", {"username": "nobody"})
        ),
        "session_deletes_a_user": refused(
            lambda: auth.call(
                channel("auth", "session"), "latchkey.auth.v1.UserAdminService/DeleteUser", {"id": user.id}
            )
        ),
        "auth_checks": refused(
            lambda: policy.call(channel("policy", "auth"), check, {"permission": "document:read", **question})
        ),
        "policy_lists_sessions": refused(anything("session", channel("session", "policy"))),
        "operator_logs_in": refused(lambda: auth.call(at_auth, "latchkey.auth.v1.LoginService/Login", login)),
        "session_reflects": refused(
            lambda: ProtoReflectionDescriptorDatabase(channel("auth", "session")).get_services()
        ),
        "without_certificate": {name: refused(anything(name, channel(name))) for name in services},
        "foreign_authority": {
            name: refused(anything(name, channel(name, "operator", given["foreign"]))) for name in services
        },
        "without_tls": {name: refused(anything(name, without_tls(name))) for name in services},
    },
    sys.stdout,
)
