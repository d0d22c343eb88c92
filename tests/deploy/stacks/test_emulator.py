"""What moto really implements, made by the services' APIs from the templates' properties; the loop writes to it."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from batch.publish import registry_entry
from contracts.keys import batch_row, registry_row
from contracts.lake import catalogue_path, pointer_path
from contracts.pointer import Pointer
from contracts.settings import ENVIRONMENT_VARIABLE, Settings
from deploy.cdk.functions import HANDLERS
from serving.collector import admit, conclude, split
from stores.objects import Objects
from stores.streams import Stream
from stores.tables import Tables

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEY_ARN = "arn:aws:kms:eu-central-1:123456789012:key/11111111-1111-1111-1111-111111111111"


@pytest.fixture(scope="module")
def aws() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        yield


@pytest.fixture(scope="module")
def built(aws: None, dev: Any) -> Any:
    """The deployment, with its parts created in the order in which they need each other."""
    _create_roles(dev)
    _create_stream(dev)
    _create_buckets(dev)
    _create_table(dev)
    _create_queues(dev)
    _create_functions(dev)
    return dev


def _create_roles(dev: Any) -> None:
    iam = boto3.client("iam")
    for role in dev.resources("AWS::IAM::Role"):
        document = json.dumps(role.properties["AssumeRolePolicyDocument"])
        description = role.properties["Description"]
        iam.create_role(RoleName=role.logical, AssumeRolePolicyDocument=document, Description=description)
    for policy in dev.resources("AWS::IAM::Policy"):
        document = _with_arns(json.dumps(policy.properties["PolicyDocument"]))
        for name in policy.properties["Roles"]:
            iam.put_role_policy(RoleName=name.strip("<>"), PolicyName=policy.logical, PolicyDocument=document)


def _with_arns(document: str) -> str:
    """A policy whose references are ARNs: moto refuses, as IAM does, what is none."""
    document = re.sub(r'"<Key\w*\.Arn>"', f'"{KEY_ARN}"', document)
    document = re.sub(r'"<(Spool\w*)\.Arn>"', r'"arn:aws:sqs:eu-central-1:123456789012:\1"', document)
    document = re.sub(r'"<(Keys)>"', r'"arn:aws:secretsmanager:eu-central-1:123456789012:secret:\1"', document)
    document = re.sub(r'"<(\w+)\.Arn>"', r'"arn:aws:iam::123456789012:role/\1"', document)
    return re.sub(r"<([^>]+)>", r"\1", document)


def _create_stream(dev: Any) -> None:
    given = dev.one("AWS::Kinesis::Stream").properties
    kinesis = boto3.client("kinesis")
    kinesis.create_stream(
        StreamName=given["Name"], ShardCount=given["ShardCount"], StreamModeDetails=given["StreamModeDetails"]
    )
    hours = given["RetentionPeriodHours"]
    if hours > 24:
        kinesis.increase_stream_retention_period(StreamName=given["Name"], RetentionPeriodHours=hours)
    kinesis.start_stream_encryption(StreamName=given["Name"], EncryptionType="KMS", KeyId=KEY_ARN)


def _create_buckets(dev: Any) -> None:
    s3 = boto3.client("s3")
    policies = {p.properties["Bucket"].strip("<>"): p for p in dev.resources("AWS::S3::BucketPolicy")}
    for bucket in dev.resources("AWS::S3::Bucket"):
        given = bucket.properties
        name = given["BucketName"]
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=given["PublicAccessBlockConfiguration"])
        s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": _encryption(given)})
        rules = given.get("LifecycleConfiguration", {}).get("Rules")
        if rules:
            s3.put_bucket_lifecycle_configuration(
                Bucket=name, LifecycleConfiguration={"Rules": [_lifecycle(rule) for rule in rules]}
            )
        document = json.dumps(policies[bucket.logical].properties["PolicyDocument"])
        s3.put_bucket_policy(Bucket=name, Policy=document)


def _encryption(given: Any) -> list[dict[str, Any]]:
    (rule,) = given["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    how = dict(rule["ServerSideEncryptionByDefault"])
    if "KMSMasterKeyID" in how:
        how["KMSMasterKeyID"] = KEY_ARN
    return [{"ApplyServerSideEncryptionByDefault": how, "BucketKeyEnabled": rule.get("BucketKeyEnabled", False)}]


def _lifecycle(rule: Any) -> dict[str, Any]:
    """A rule of CloudFormation in the words of the service's API."""
    out = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if "AbortIncompleteMultipartUpload" in rule:
        out["AbortIncompleteMultipartUpload"] = rule["AbortIncompleteMultipartUpload"]
    if "ExpirationInDays" in rule:
        out["Expiration"] = {"Days": rule["ExpirationInDays"]}
    if "NoncurrentVersionExpiration" in rule:
        out["NoncurrentVersionExpiration"] = rule["NoncurrentVersionExpiration"]
    if "Transitions" in rule:
        out["Transitions"] = [
            {"StorageClass": each["StorageClass"], "Days": each["TransitionInDays"]} for each in rule["Transitions"]
        ]
    return out


def _create_table(dev: Any) -> None:
    given = dev.one("AWS::DynamoDB::Table").properties
    dynamodb = boto3.client("dynamodb")
    taken = ("TableName", "KeySchema", "AttributeDefinitions", "BillingMode", "DeletionProtectionEnabled")
    encryption = {"Enabled": True, "SSEType": given["SSESpecification"]["SSEType"], "KMSMasterKeyId": KEY_ARN}
    dynamodb.create_table(**{key: given[key] for key in taken}, SSESpecification=encryption)
    dynamodb.update_time_to_live(TableName=given["TableName"], TimeToLiveSpecification=given["TimeToLiveSpecification"])
    dynamodb.update_continuous_backups(
        TableName=given["TableName"], PointInTimeRecoverySpecification=given["PointInTimeRecoverySpecification"]
    )


def _create_queues(dev: Any) -> None:
    sqs = boto3.client("sqs")
    given = {queue.logical: queue.properties for queue in dev.resources("AWS::SQS::Queue")}
    for name in sorted(given, key=lambda logical: "RedrivePolicy" in given[logical]):  # dead letters first
        times = ("MessageRetentionPeriod", "VisibilityTimeout")
        attributes = {key: str(value) for key, value in given[name].items() if key in times}
        attributes["KmsMasterKeyId"] = KEY_ARN
        if redrive := given[name].get("RedrivePolicy"):
            dead = given[redrive["deadLetterTargetArn"].strip("<>").removesuffix(".Arn")]["QueueName"]
            arn = f"arn:aws:sqs:eu-central-1:123456789012:{dead}"
            attributes["RedrivePolicy"] = json.dumps(redrive | {"deadLetterTargetArn": arn})
        sqs.create_queue(QueueName=given[name]["QueueName"], Attributes=attributes)


def _create_functions(dev: Any) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("nothing.py", "")
    lambdas = boto3.client("lambda")
    for function in dev.resources("AWS::Lambda::Function"):
        given = function.properties
        role = boto3.client("iam").get_role(RoleName=given["Role"].strip("<>").removesuffix(".Arn"))["Role"]["Arn"]
        lambdas.create_function(
            FunctionName=given["FunctionName"],
            Runtime=given["Runtime"],
            Role=role,
            Handler=given["Handler"],
            Code={"ZipFile": code.getvalue()},
            MemorySize=given["MemorySize"],
            Timeout=given["Timeout"],
            Environment=given["Environment"],
        )


def settings_of(deployment: Any, function: str) -> Settings:
    """The settings that a function finds in its environment, once AWS has given the cache an address."""
    found = boto3.client("lambda").get_function_configuration(FunctionName=f"liveshelf-{deployment.name}-{function}")
    text = found["Environment"]["Variables"][ENVIRONMENT_VARIABLE]
    text = re.sub(r"<[^>]*Endpoint\.Address>:<[^>]*Endpoint\.Port>", "cache.example:6379", text)
    return Settings.from_properties({g["PropertyGroupId"]: g["PropertyMap"] for g in json.loads(text)})


def test_the_collector_puts_its_events_on_the_stream_of_the_template(built: Any) -> None:
    settings = settings_of(built, "collector")
    event = {"event_id": "e1", "event_type": "view", "user_id": "7", "item_id": "A", "occurred_at": NOW.isoformat()}
    admission = admit(split(json.dumps(event).encode(), settings.serving.max_batch), NOW, settings.shops, "default")
    answer = conclude(admission, Stream.from_settings(settings).put(admission.records), NOW)
    assert (answer.accepted, answer.failed, answer.rejected) == (1, 0, 0)
    kinesis = boto3.client("kinesis")
    told = kinesis.describe_stream(StreamName=settings.stream_name)["StreamDescription"]
    assert (told["EncryptionType"], told["KeyId"], told["RetentionPeriodHours"]) == ("KMS", KEY_ARN, 24)
    (shard,) = told["Shards"]
    start = {"StreamName": settings.stream_name, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    records = kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**start)["ShardIterator"])["Records"]
    assert [(r["Data"], r["PartitionKey"]) for r in records] == admission.records


def test_the_trainer_publishes_into_the_table_of_the_template(built: Any, make_manifest: Any) -> None:
    settings = settings_of(built, "recommend")
    tables = Tables.from_settings(settings)
    expires = int(NOW.timestamp()) + 10 * 365 * 24 * 3600
    row = batch_row("default", "v1", "u.7")
    assert tables.put_many([(row, b"a list", expires)]) == 1
    manifest = make_manifest()
    tables.register("default", "v1", registry_entry(manifest))
    pointer = tables.switch("default", Pointer(version="v1", switched_at=NOW), None)
    assert tables.current("default") == pointer
    assert tables.get(row) == b"a list"
    assert tables.get(registry_row("default", "v1")) == registry_entry(manifest)
    dynamodb = boto3.client("dynamodb")
    alive = dynamodb.describe_time_to_live(TableName=settings.dynamodb_table)["TimeToLiveDescription"]
    assert alive == {"AttributeName": "ttl", "TimeToLiveStatus": "ENABLED"}
    backups = dynamodb.describe_continuous_backups(TableName=settings.dynamodb_table)
    recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"
    with pytest.raises(dynamodb.exceptions.ClientError, match="DeletionProtectionEnabled"):
        dynamodb.delete_table(TableName=settings.dynamodb_table)


def test_objects_of_the_lake_are_encrypted_where_they_lie_and_nobody_comes_without_tls(built: Any) -> None:
    settings = settings_of(built, "recommend")
    lake = Objects.from_settings(settings)
    for path in (catalogue_path("default"), pointer_path("default")):
        lake.put(path, b"{}")
        assert lake.get(path) == b"{}"
    s3 = boto3.client("s3")
    stored = s3.head_object(Bucket=settings.lake_bucket, Key=pointer_path("default"))
    assert (stored["ServerSideEncryption"], stored["SSEKMSKeyId"]) == ("aws:kms", KEY_ARN)
    policy = json.loads(s3.get_bucket_policy(Bucket=settings.lake_bucket)["Policy"])
    denied = [s for s in policy["Statement"] if s["Effect"] == "Deny"]
    assert {"Bool": {"aws:SecureTransport": "false"}} in [s["Condition"] for s in denied]
    assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in [s["Condition"] for s in denied]
    assert all(s["Principal"] == {"AWS": "*"} and s["Action"] == "s3:*" for s in denied)
    closed = s3.get_public_access_block(Bucket=settings.lake_bucket)["PublicAccessBlockConfiguration"]
    assert set(closed.values()) == {True}
    rules = {r["ID"]: r for r in s3.get_bucket_lifecycle_configuration(Bucket=settings.lake_bucket)["Rules"]}
    assert rules["scratch of default"]["Expiration"] == {"Days": 3}
    assert not any("Expiration" in rule for rule in rules.values() if rule["Filter"] == {"Prefix": "events/"})


def test_a_spooled_event_comes_back_and_is_given_up_after_twelve_tries(built: Any) -> None:
    assert str(settings_of(built, "collector").serving.spool_queue).startswith("<Spool"), "a reference to the queue"
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName="liveshelf-dev-spool")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="an event")
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert message["Body"] == "an event"
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    redrive = json.loads(told["RedrivePolicy"])
    assert redrive["maxReceiveCount"] == 12
    assert redrive["deadLetterTargetArn"].endswith(":liveshelf-dev-spool-dead")
    assert int(told["VisibilityTimeout"]) >= 6 * 120, "AWS advises six times the function's time-out"


def test_the_functions_have_roles_that_lambda_may_take_and_handlers_that_the_zip_holds(built: Any) -> None:
    lambdas, iam = boto3.client("lambda"), boto3.client("iam")
    for part, handler in HANDLERS.items():
        told = lambdas.get_function_configuration(FunctionName=f"liveshelf-dev-{part}")
        assert told["Handler"] == handler
        role = iam.get_role(RoleName=told["Role"].rpartition("/")[2])["Role"]
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
        (policy,) = iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
        written = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=policy)["PolicyDocument"]
        assert all(statement["Effect"] == "Allow" for statement in written["Statement"])
