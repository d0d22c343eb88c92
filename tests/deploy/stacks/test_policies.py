"""Who may do what: each part its own role, allowed what it needs and nothing else."""

from datetime import UTC, datetime
from fnmatch import fnmatch
from typing import Any

from contracts.access import KeyDocument, decode_keys
from contracts.audit import AuditEntry, audit_path, audit_root
from contracts.forgetting import forgotten_prefix, open_path, tombstones_path
from contracts.lake import (
    UNKNOWN_SHOP,
    catalogue_path,
    dataset_prefix,
    experiment_results_path,
    experiments_path,
    model_prefix,
    people_path,
    rules_path,
)


def test_no_policy_holds_a_wildcard_action(each: Any) -> None:
    for resource in each.resources():
        documents = [resource.properties.get("PolicyDocument"), resource.properties.get("KeyPolicy")]
        documents += [policy["PolicyDocument"] for policy in resource.properties.get("Policies", [])]
        for statement in (s for d in documents if d for s in d["Statement"] if s["Effect"] == "Allow"):
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            # That the account's own IAM decides about its key is what AWS puts into every key's policy.
            root = resource.type == "AWS::KMS::Key" and actions == ["kms:*"]
            assert root or not [a for a in actions if "*" in a], (resource.logical, actions)


def test_every_role_is_of_one_part_and_of_one_service(each: Any) -> None:
    parts: dict[str, list[str]] = {}
    for role in each.resources("AWS::IAM::Role"):
        (statement,) = role.properties["AssumeRolePolicyDocument"]["Statement"]
        assert isinstance(statement["Principal"]["Service"], str)
        parts.setdefault(role.properties["Description"], []).append(role.logical)
    assert all(len(roles) == 1 for roles in parts.values()), parts


def test_the_stream_role_reads_events_and_models_and_writes_its_datasets_and_nothing_else(dev: Any) -> None:
    actions = dev.actions("Role")  # of the stack streaming: the only role of that bare name
    lake = "arn:aws:s3:::liveshelf-dev-lake-123456789012-eu-central-1"
    stream = "arn:aws:kinesis:eu-central-1:123456789012:stream/liveshelf-dev-behaviour"
    reads = {"DescribeStream", "DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards"}
    assert {r: a for r, a in actions.items() if any("kinesis:" in one for one in a)} == {
        stream: {f"kinesis:{each}" for each in reads}
    }
    written = {r for r, a in actions.items() if "s3:PutObject" in a}
    assert written == {f"{lake}/shop=*/dataset=*"}
    assert {r for r, a in actions.items() if any(one.startswith("s3:Get") for one in a)} - written == {
        lake,
        f"{lake}/shop=default/models/*",
        f"{lake}/shop=default/catalogue/items.jsonl.gz",
        f"{lake}/{tombstones_path('default')}",
        "arn:aws:s3:::liveshelf-dev-artefacts-123456789012-eu-central-1/flink/not-built.zip",
    }
    assert not any("dynamodb:" in one or "secretsmanager:" in one for a in actions.values() for one in a)


def test_recommendations_read_and_cannot_write_anything_but_their_log(dev: Any) -> None:
    verbs = {one for a in dev.actions("RecommendRole").values() for one in a}
    assert {one for one in verbs if not one.startswith(("ec2:", "logs:"))} == {
        "dynamodb:GetItem",
        "elasticache:Connect",
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "s3:GetObject",
        "s3:ListBucket",
        "secretsmanager:GetSecretValue",
    }


def test_operators_write_three_documents_the_log_of_changes_and_deletions_and_nothing_else(large: Any) -> None:
    lake = "arn:aws:s3:::liveshelf-large-lake-123456789012-eu-central-1"
    actions = large.actions("ControlRole")
    written = {f"{lake}/{path(shop)}" for shop in ("tea", "cups") for path in (catalogue_path, rules_path)}
    written |= {f"{lake}/{experiments_path(shop)}" for shop in ("tea", "cups")}
    written |= {f"{lake}/{prefix(shop)}*" for shop in ("tea", "cups") for prefix in (audit_root, forgotten_prefix)}
    assert {r for r, a in actions.items() if "s3:PutObject" in a} == written
    entry = AuditEntry(id="x", at=datetime(2026, 1, 5, tzinfo=UTC), who="open", action="rules.replace", target="")
    for path in (audit_path("tea", entry), tombstones_path("tea"), open_path("tea", "x")):
        assert any(path.startswith(each.removeprefix(f"{lake}/").rstrip("*")) for each in written), path
    assert {one for a in actions.values() for one in a if one.startswith("dynamodb:")} == {
        "dynamodb:GetItem",
        "dynamodb:BatchGetItem",
        "dynamodb:BatchWriteItem",
    }
    assert {r for r, a in actions.items() if "cloudwatch:GetMetricData" in a and "cloudwatch:ListMetrics" in a} == {"*"}
    assert not any("DeleteObject" in one or "kinesis:Put" in one for a in actions.values() for one in a)


def test_operators_read_manifests_rejected_records_and_results_but_no_model_s_people(dev: Any) -> None:
    lake = "arn:aws:s3:::liveshelf-dev-lake-123456789012-eu-central-1/"
    read = {r.removeprefix(lake) for r, a in dev.actions("ControlRole").items() if "s3:GetObject" in a}
    assert {
        f"{model_prefix('default', '*')}manifest.json",
        f"{dataset_prefix('default', 'dead-letter')}*",
        f"{dataset_prefix(UNKNOWN_SHOP, 'dead-letter')}*",
        experiment_results_path("default", "*"),
    } <= read
    assert not any(fnmatch(people_path("default", "v1"), each) for each in read)


def test_whoever_checks_api_keys_may_read_them_and_finds_a_document_without_keys(each: Any) -> None:
    secret = each.one("AWS::SecretsManager::Secret")
    assert decode_keys(secret.properties["SecretString"].encode()) == KeyDocument()
    roles = ["CollectorRole", "RecommendRole", "ControlRole", *(["ServiceRole"] if each.name == "large" else [])]
    for role in roles:
        actions = each.actions(role)
        assert actions[f"<{secret.logical}>"] == {"secretsmanager:GetSecretValue"}, role
        assert any("kms:Decrypt" in verbs for verbs in actions.values()), role
    assert f"<{secret.logical}>" not in each.actions("DrainRole")


def test_the_trainer_deletes_people_from_every_version_of_an_object_and_from_the_table(dev: Any) -> None:
    lake = "arn:aws:s3:::liveshelf-dev-lake-123456789012-eu-central-1"
    actions = dev.actions("JobRole")
    assert "s3:ListBucketVersions" in actions[lake]
    for below in ("events/*", "shop=default/*"):
        assert {"s3:DeleteObject", "s3:DeleteObjectVersion"} <= actions[f"{lake}/{below}"]
    assert any("dynamodb:BatchWriteItem" in verbs for verbs in actions.values())


def test_the_collector_puts_events_and_spools_and_cannot_read_them_back(dev: Any) -> None:
    verbs = {one for a in dev.actions("CollectorRole").values() for one in a if not one.startswith(("logs:", "kms:"))}
    assert verbs == {"kinesis:PutRecords", "sqs:SendMessage", "secretsmanager:GetSecretValue"}


def test_whoever_reads_the_database_may_read_its_password_and_nobody_else(large: Any) -> None:
    secret = next(r for r in large.actions("RecommendRole") if "MasterUserSecret" in r)
    for role in ("RecommendRole", "ControlRole", "ServiceRole", "JobRole", "NodeRole"):
        assert large.actions(role)[secret] == {"secretsmanager:GetSecretValue"}, role
    for role in ("CollectorRole", "DrainRole", "MachineRole"):
        assert secret not in large.actions(role), role


def test_each_part_logs_in_to_the_cache_as_itself(dev: Any) -> None:
    user = "arn:aws:elasticache:eu-central-1:123456789012:user:liveshelf-dev-"
    for role, part in (
        ("Role", "stream"),
        ("JobRole", "trainer"),
        ("RecommendRole", "serving"),
        ("ControlRole", "control"),
    ):
        users = {r for r, a in dev.actions(role).items() if "elasticache:Connect" in a and ":user:" in r}
        assert users == {user + part}


def test_the_trainer_may_look_for_old_versions_of_what_it_deletes(each: Any) -> None:
    """``Objects.purge_versions`` asks for them on every bucket; without the right no deletion of a person ends."""
    lake = f"arn:aws:s3:::liveshelf-{each.name}-lake-123456789012-eu-central-1"
    for role in ("JobRole", "NodeRole") if each.name == "large" else ("JobRole",):
        actions = each.actions(role)
        assert "s3:ListBucketVersions" in actions[lake], role
        assert all("s3:DeleteObjectVersion" in a for a in actions.values() if "s3:DeleteObject" in a), role
