"""What the cloud account logs: events in CloudTrail's shape with values of our own, as the shipper sends them, bare."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from services.cli.demo_month.company import ACCOUNT, REGION, Company, Person
from services.cli.demo_month.days import Month, count, draw_hour, iso_seconds, moment
from services.cli.demo_month.drafts import Draft

_AROUND_THE_CLOCK = (5, 5, 8, 6, 4, 4, 4, 5, 6, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 5, 5, 5, 5, 5)
_SDK = "aws-sdk-go-v2/1.39.2 os/linux lang/go#1.25.1"
_CONSOLE = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:143.0) Gecko/20100101 Firefox/143.0"
BUCKETS = ("larkfield-vitals", "larkfield-exports", "larkfield-models", "larkfield-artifacts")


SOURCE = f"cloudtrail/{ACCOUNT}"
"""What Piperoll finds as the source of these events, by their shape."""


class Call(NamedTuple):
    """One API call: who (`identity`), what, from where, and how it went (`error` empty: it was done)."""

    service: str
    name: str
    identity: dict[str, Any]
    address: str
    request: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    error: str = ""
    read_only: bool = False
    agent: str = _SDK
    extra: dict[str, Any] | None = None


def trail(rng: Random, at: int, call: Call, story: str = "") -> Draft:
    """The call as CloudTrail writes it down."""
    data: dict[str, Any] = {
        "eventVersion": "1.11",
        "userIdentity": call.identity,
        "eventTime": iso_seconds(at),
        "eventSource": f"{call.service}.amazonaws.com",
        "eventName": call.name,
        "awsRegion": REGION,
        "sourceIPAddress": call.address,
        "userAgent": call.agent,
        "requestParameters": call.request,
        "responseElements": call.response,
        **(call.extra or {}),
        "requestID": _uuid(rng),
        "eventID": _uuid(rng),
        "readOnly": call.read_only,
        "eventType": "AwsConsoleSignIn" if call.name == "ConsoleLogin" else "AwsApiCall",
        "managementEvent": call.name not in {"GetObject", "PutObject"},
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Data" if call.name in {"GetObject", "PutObject"} else "Management",
    }
    if call.error:
        data["errorCode"] = call.error
        data["errorMessage"] = (
            f"User: {call.identity.get('arn', '')} is not authorized to perform this action"
        )
    return Draft(at, SOURCE, "", "", data, data["eventSource"], form="bare", story=story)


def user(name: str, *, mfa: bool = True) -> dict[str, Any]:
    """The identity of a person with a user of the account."""
    return {
        "type": "IAMUser",
        "principalId": f"AIDALARK{sum(map(ord, name)):08d}",
        "arn": f"arn:aws:iam::{ACCOUNT}:user/{name}",
        "accountId": ACCOUNT,
        "userName": name,
        "sessionContext": {"attributes": {"mfaAuthenticated": "true" if mfa else "false"}},
    }


def service(role: str) -> dict[str, Any]:
    """The identity of a service: a role that it assumed."""
    return {
        "type": "AssumedRole",
        "principalId": f"AROALARK{sum(map(ord, role)):08d}:{role}",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{role}",
        "accountId": ACCOUNT,
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "arn": f"arn:aws:iam::{ACCOUNT}:role/{role}",
                "accountId": ACCOUNT,
                "userName": role,
            },
            "attributes": {"mfaAuthenticated": "false"},
        },
    }


def infrastructure(month: Month, rng: Random, scale: float) -> Iterator[Draft]:
    """Services at work, around the clock."""
    for day in month.days():
        for _ in range(count(rng, 165 * scale)):
            at = moment(day, draw_hour(rng, _AROUND_THE_CLOCK), "UTC")
            yield trail(rng, at, _service_call(rng))


def console(company: Company, month: Month, rng: Random) -> Iterator[Draft]:
    """Administrators and a few engineers in the console, in working hours."""
    people = company.with_role("admin") + company.with_role("engineer")[:6]
    for day in month.workdays():
        for person in people:
            if rng.random() < 0.45:
                at = moment(day, person.starts + rng.uniform(0.2, 7.5), person.site.zone)
                yield console_login(rng, at, person, person.address)
                for number in range(count(rng, 3)):
                    yield trail(rng, at + (number + 1) * rng.randrange(8_000, 90_000), _look(rng, person))


def console_login(
    rng: Random, at: int, person: Person, address: str, *, mfa: bool = True, story: str = ""
) -> Draft:
    call = Call(
        "signin",
        "ConsoleLogin",
        user(person.email.split("@")[0], mfa=mfa),
        address,
        response={"ConsoleLogin": "Success"},
        agent=_CONSOLE,
        extra={"additionalEventData": {"MobileVersion": "No", "MFAUsed": "Yes" if mfa else "No"}},
    )
    return trail(rng, at, call, story)


def _look(rng: Random, person: Person) -> Call:
    service_name, name = rng.choice(
        (
            ("ec2", "DescribeInstances"),
            ("s3", "ListBuckets"),
            ("logs", "DescribeLogGroups"),
            ("rds", "DescribeDBInstances"),
            ("iam", "ListRoles"),
        )
    )
    who = user(person.email.split("@")[0])
    return Call(service_name, name, who, person.address, read_only=True, agent=_CONSOLE)


def _service_call(rng: Random) -> Call:
    kind = rng.choices(("object", "key", "role", "scale", "code", "secret"), (52, 20, 14, 5, 3, 6))[0]
    address = f"10.20.{rng.randrange(4)}.{rng.randrange(4, 250)}"
    if kind == "object":
        return _object_call(rng, address)
    if kind == "key":
        who = service(rng.choice(("vitals-ingest", "triage-runner")))
        alias = {"keyId": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/larkfield-main"}
        return Call("kms", rng.choice(("Decrypt", "GenerateDataKey")), who, address, alias, read_only=True)
    if kind == "role":
        role = rng.choice(("vitals-ingest", "triage-runner", "ci-deploy", "reporting"))
        assumed = {"roleArn": f"arn:aws:iam::{ACCOUNT}:role/{role}", "roleSessionName": role}
        return Call(
            "sts", "AssumeRole", {"type": "AWSService", "invokedBy": "ecs.amazonaws.com"}, address, assumed
        )
    if kind == "scale":
        name = rng.choice(("RunInstances", "TerminateInstances"))
        request: dict[str, Any] = {
            "instancesSet": {"items": [{"instanceId": f"i-{rng.getrandbits(68):017x}"}]}
        }
        return Call("ec2", name, service("autoscaling"), "autoscaling.amazonaws.com", request)
    if kind == "code":
        function = {"functionName": rng.choice(("vitals-normalise", "alert-fanout", "report-mailer"))}
        return Call("lambda", "UpdateFunctionCode20150331v2", service("ci-deploy"), address, function)
    secret = {"secretId": rng.choice(("portal/database", "triage/database"))}
    return Call("secretsmanager", "GetSecretValue", service("portal"), address, secret, read_only=True)


def _object_call(rng: Random, address: str) -> Call:
    name = rng.choice(("GetObject", "PutObject"))
    request = {
        "bucketName": rng.choice(BUCKETS[:3]),
        "key": f"{rng.randrange(100):02d}/{rng.getrandbits(64):016x}",
    }
    who = service(rng.choice(("vitals-ingest", "triage-runner", "reporting")))
    return Call("s3", name, who, address, request, read_only=name == "GetObject")


def _uuid(rng: Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))
