"""Services that no mapping knows are judged by what is done to what: names as the services' own documentation has them."""

import json

import pytest

from schemas.enrichment import RISKS
from services.enricher.enrich import Coordinates
from tests.shipped import shipped_enricher

AT = Coordinates(bytes(16), 0, 5, 1_700_000_000_000)


@pytest.fixture(scope="module")
def risk():
    enricher = shipped_enricher()

    def judged(event):
        return enricher.enrich(None, json.dumps(event).encode(), [], AT, bytes(32)).document.risk

    return judged


def chat(action):
    """Form of a chat service's audit log."""
    return {
        "action": action,
        "actor": {"type": "user", "user": {"email": "a@example.com"}},
        "entity": {"type": "workspace"},
    }


def notes(kind):
    """Form of a wiki's audit log: the action within the event."""
    return {
        "workspace_id": "w",
        "actor": {"person": {"email": "a@example.com"}},
        "event": {"type": kind, "platform": "web"},
    }


def network(action, what):
    """Form of a private network's log: what changed is a property of the target."""
    return {
        "event": {"action": action, "actor": {"loginName": "a"}, "target": {"property": what, "type": "NET"}}
    }


def meeting(detail):
    """Form of a meeting service's operation log: a sentence."""
    return {
        "operator": "a@example.com",
        "category_type": "Account",
        "action": "Update",
        "operation_detail": detail,
    }


def forge(message):
    """Form of a code forge's audit events: a sentence below details."""
    return {"entity_type": "Group", "details": {"custom_message": message, "author_name": "A"}}


def cloud(kind, what):
    """Form of an edge network's audit log: the action is an object."""
    return {"action": {"type": kind, "result": True}, "actor": {"email": "a"}, "resource": {"type": what}}


def watch(name, action, what):
    """Form of a monitoring service's audit events: everything below attributes."""
    return {"attributes": {"evt": {"name": name}, "action": action, "asset": {"type": what}}}


def stack(action, what):
    """Form of an infrastructure service's audit trail: action and type below resource."""
    return {"resource": {"id": "x", "type": what, "action": action}, "auth": {"description": "a"}}


def lake(service, action):
    """Form of a data platform's audit log."""
    return {"serviceName": service, "actionName": action, "userIdentity": {"email": "a"}}


ALARMING = [
    chat("role_change_to_admin"),
    chat("owner_transferred"),
    chat("app_scopes_expanded"),
    chat("private_channel_converted_to_public"),
    chat("pref.two_factor_auth_changed"),
    chat("native_dlp_rule_deactivated"),
    chat("legal_hold_policy_deleted"),
    chat("ekm_unenrolled"),
    chat("manual_export_completed"),
    chat("guest_created"),
    chat("user_logged_in_as_user"),
    notes("workspace.audit_log_exported"),
    notes("workspace.scim_token_generated"),
    notes("page.permissions.shared_to_public"),
    notes("workspace.settings.enforce_saml_sso_config_updated"),
    network("DISABLE", "MACHINE_APPROVAL_NEEDED"),
    network("CREATE", "API_KEY"),
    meeting("Sign-in Methods - Two-Factor Authentication: from On to Off"),
    meeting("Update User b@example.com - User Role: from Member to Admin"),
    forge("Changed visibility from Private to Public"),
    forge("Disabled two factor authentication"),
    {"action": "bypass_create", "username": "Admin", "object": "x"},
    {"operation_name": "ActionsDisabledChange", "user_email": "a@example.com"},
    {"operationName": "DeleteAuditSink", "caller": "a@example.com"},
    {"details": {"new_value": "off"}, "event_type": "require_app_approvals_changed"},
    cloud("two_factor_disabled", "user"),
    cloud("firewall_rule_delete", "firewall_rule"),
    cloud("token_create", "token"),
    watch("Access Management", "created", "api_key"),
    watch("Log Management", "deleted", "logs_archive"),
    watch("Organization Management", "modified", "saml_settings"),
    stack("destroy", "workspace"),
    stack("create", "authentication-token"),
    lake("accounts", "createIpAccessList"),
    lake("accountsAccountLevelAccessControl", "setAccountAdmin"),
    lake("unityCatalog", "deleteCatalog"),
    {"kind": "member", "titleVerb": "changed the role to Admin"},
    {"details": {"change": "visibility", "from": "Private", "to": "Public"}, "entity_type": "Project"},
    {"details": {"change": "require_two_factor_authentication", "from": "true", "to": "false"}},
    {"request": {"operation": "update", "path": "sys/policies/acl/root"}, "type": "response"},
    {"QUERY_TEXT": "GRANT ROLE accountadmin TO USER x", "USER_NAME": "A"},
    {"QUERY_TEXT": "COPY INTO 's3://elsewhere/x' FROM t", "USER_NAME": "A"},
    {"event_type": "authentication", "factor": "push", "reason": "user_marked_fraud", "result": "denied"},
    {"action": "repository.made_public"},
    {"action": "audit_log.deleted"},
    {"action": "audit.disabled"},
    {"category": "AUDIT_LOGS", "action": "DOWNLOAD"},
    {"action": "support_access.granted"},
    {"action": "root_login"},
    {"subCategory": "two_factor_disabled", "category": "SECURITY", "action": "PERFORM"},
    {"title": "Shell in a container", "alert": {"severity": "Critical"}, "status": "open"},
]
ORDINARY = [
    chat("user_login"),
    chat("file_downloaded"),
    chat("user_channel_join"),
    chat("emoji_added"),
    notes("page.viewed"),
    notes("page.edited"),
    notes("user.login"),
    network("ENABLE", "HTTPS"),
    meeting("Add User b@example.com - Type: Basic"),
    meeting("Share Recording of a meeting"),
    forge("Signed in with STANDARD authentication"),
    {"action": "admin_login", "username": "Admin"},
    {"action": "billing_update", "username": "Admin"},
    {"action": "role_granted", "role": "reader", "event": "role granted: read only"},
    {"operationName": "DeleteAuditSink", "caller": "a@example.com", "errorCode": "AccessDenied"},
    {"details": {"new_value": "required"}, "event_type": "workspace_saml_settings_changed"},
    {"name": "pack_incident_response_shell_history", "action": "added", "columns": {"command": "ls"}},
    {"title": "Malware found", "status": "resolved", "severity": "low"},
    {"title": "Shell in a container", "alert": {"severity": "Critical"}, "status": "closed"},
    {"name": "Port probed", "control": {"severity": "HIGH"}, "issue": {"severity": "LOW", "status": "open"}},
    cloud("purge_cache", "zone"),
    cloud("rec_add", "dns_record"),
    watch("Dashboard", "created", "dashboard"),
    watch("Authentication", "login", "user"),
    stack("apply", "run"),
    lake("accounts", "tokenLogin"),
    lake("clusters", "create"),
    {"QUERY_TEXT": "SELECT * FROM grants WHERE role = 'accountadmin'", "USER_NAME": "A"},
    {"QUERY_TEXT": "GRANT ROLE accountadmin TO USER x", "EXECUTION_STATUS": "FAIL", "USER_NAME": "A"},
    {"event_type": "authentication", "factor": "push", "reason": "user_approved", "result": "success"},
    {"request": {"operation": "read", "path": "secret/data/app"}, "type": "response"},
    {"details": {"change": "require_two_factor_authentication", "from": "false", "to": "true"}},
    {"details": {"change": "description", "from": "a", "to": "b"}, "entity_type": "Project"},
    {"action": "alert.acknowledged"},
    {"type": "audit.order.deleted", "data": {}},
    {"category": "AuditLogs", "action": "document_removed"},
    {"type": "com.example.audit.report.downloaded.v1"},
    {"action": "time_off.requested"},
    {"action": "refresh_token.created"},
    {"action": "key.rotated"},
    {"action": "mfa.enrolled"},
]


@pytest.mark.parametrize("event", ALARMING, ids=json.dumps)
def test_what_weakens_or_opens_a_service_is_at_least_medium(risk, event):
    assert RISKS.index(risk(event)) >= RISKS.index("medium")


@pytest.mark.parametrize("event", ORDINARY, ids=json.dumps)
def test_what_everybody_does_each_day_and_what_failed_is_below_medium(risk, event):
    assert RISKS.index(risk(event)) < RISKS.index("medium")


def test_an_own_key_is_less_than_a_key_for_somebody_else(risk):
    def made(for_whom):
        return {
            "eventVersion": "1.08",
            "eventSource": "iam.amazonaws.com",
            "eventName": "CreateAccessKey",
            "eventTime": "2026-05-01T12:00:00Z",
            "eventID": "1",
            "awsRegion": "us-east-1",
            "userIdentity": {"type": "IAMUser", "userName": "ann"},
            "requestParameters": {"userName": for_whom},
        }

    assert (risk(made("ann")), risk(made("bob"))) == ("low", "medium")


def test_workspace_events_in_a_list_meet_the_same_rules_as_single_ones(risk):
    """The Reports API puts the events of an activity into a list."""
    head = {"id": {"applicationName": "admin", "uniqueQualifier": "1"}, "actor": {"email": "a@example.com"}}
    alone = head | {"name": "ASSIGN_ROLE", "type": "DELEGATED_ADMIN_SETTINGS"}
    listed = head | {"kind": "admin#reports#activity", "events": [{"name": "ASSIGN_ROLE", "type": "X"}]}
    assert risk(alone) == risk(listed) == "medium"
