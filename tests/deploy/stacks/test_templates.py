"""What the templates promise: every part of the loop is there, kept, encrypted, and not reached from outside."""

import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from contracts.lake import (
    ERRORS_PREFIX,
    attribution_prefix,
    attribution_totals_path,
    attribution_units_path,
    dataset_prefix,
    day_prefix,
    features_day_prefix,
)
from deploy.assembly import read_assembly
from deploy.cdk.alarms import FLINK
from deploy.cdk.ingestion import HALF_UPLOAD_DAYS, SNAPSHOT_DAYS
from deploy.flink_zip import RUN_OPTIONS, RUN_OPTIONS_GROUP
from deploy.images import image_of, pinned
from deploy.stream_settings import stream_settings
from serving import pages

LOOP = {
    "foundation": {"AWS::KMS::Key", "AWS::S3::Bucket", "AWS::SNS::Topic"},
    "network": {"AWS::EC2::VPC", "AWS::EC2::VPCEndpoint", "AWS::EC2::FlowLog", "AWS::EC2::SecurityGroup"},
    "ingestion": {
        "AWS::Kinesis::Stream",
        "AWS::KinesisFirehose::DeliveryStream",
        "AWS::S3::Bucket",
        "AWS::Glue::Database",
        "AWS::Glue::Table",
        "AWS::Athena::WorkGroup",
    },
    "stores": {"AWS::DynamoDB::Table", "AWS::ElastiCache::ServerlessCache", "AWS::ElastiCache::User"},
    "streaming": {
        "AWS::KinesisAnalyticsV2::Application",
        "AWS::KinesisAnalyticsV2::ApplicationCloudWatchLoggingOption",
        "AWS::Logs::LogGroup",
    },
    "training": {"AWS::EMRServerless::Application", "AWS::StepFunctions::StateMachine", "AWS::Scheduler::Schedule"},
    "serving": {
        "AWS::ApiGatewayV2::Api",
        "AWS::Lambda::Function",
        "AWS::Lambda::EventSourceMapping",
        "AWS::SQS::Queue",
        "AWS::SecretsManager::Secret",
        "AWS::CloudFront::Distribution",
        "AWS::CloudFront::OriginAccessControl",
        "AWS::S3::Bucket",
    },
    "monitoring": {
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::Logs::QueryDefinition",
        "AWS::Budgets::Budget",
    },
}
DATA = (
    "AWS::Kinesis::Stream",
    "AWS::DynamoDB::Table",
    "AWS::KMS::Key",
    "AWS::SQS::Queue",
    "AWS::SecretsManager::Secret",
    "AWS::RDS::DBCluster",
    "AWS::ECR::Repository",
)


def test_every_part_of_the_loop_is_in_the_stack_of_its_unit(dev: Any, large: Any) -> None:
    for deployment in (dev, large):
        assert set(deployment.templates) == set(LOOP)
        for unit, types in LOOP.items():
            assert types <= {r.type for r in deployment.resources() if r.stack == unit}, unit
    more = {r.type for r in large.resources()}
    assert {
        "AWS::RDS::DBCluster",
        "AWS::ECS::Service",
        "AWS::CloudFront::VpcOrigin",
        "AWS::IAM::InstanceProfile",
    } <= more


def test_cfn_lint_finds_nothing(dev: Any, large: Any) -> None:
    files = [str(path) for it in (dev, large) for path in it.folder.glob("*.template.json")]
    found = subprocess.run([Path(sys.executable).with_name("cfn-lint"), *files], capture_output=True, text=True)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_the_stacks_need_no_bootstrap_and_ask_no_account(each: Any) -> None:
    for template in each.templates.values():
        assert "Parameters" not in template
        assert "Rules" not in template


def test_what_the_admin_routes_are_asked_reaches_the_function_that_may_answer_in_time(each: Any) -> None:
    routes = {r.properties["RouteKey"]: r.properties["Target"] for r in each.resources("AWS::ApiGatewayV2::Route")}
    integrations = {f"<{r.logical}>": r.properties for r in each.resources("AWS::ApiGatewayV2::Integration")}
    functions = {f"<{r.logical}.Arn>": r for r in each.resources("AWS::Lambda::Function")}
    for alias in each.resources("AWS::Lambda::Alias"):  # of a function that is kept warm
        name = alias.properties["FunctionName"].removesuffix(">")
        functions[f"<{alias.logical}>"] = functions[f"{name}.Arn>"]
    found = {}
    for route, target in routes.items():
        integration = integrations[target.removeprefix("integrations/")]
        function = functions[integration["IntegrationUri"]]
        found[route] = function.logical
        assert function.properties["Timeout"] * 1000 < integration["TimeoutInMillis"] <= 30_000, "of an HTTP API"
    assert found == {"POST /v1/events": "Collector", "ANY /v1/admin/{proxy+}": "Control", "$default": "Recommend"}


def test_every_store_is_encrypted_with_our_key(each: Any) -> None:
    key = next(r.logical for r in each.resources("AWS::KMS::Key"))
    arn = f"<{key}.Arn>"
    kept = {
        "AWS::Kinesis::Stream": lambda p: p["StreamEncryption"]["KeyId"],
        "AWS::DynamoDB::Table": lambda p: p["SSESpecification"]["KMSMasterKeyId"],
        "AWS::ElastiCache::ServerlessCache": lambda p: p["KmsKeyId"],
        "AWS::SQS::Queue": lambda p: p["KmsMasterKeyId"],
        "AWS::SNS::Topic": lambda p: p["KmsMasterKeyId"],
        "AWS::SecretsManager::Secret": lambda p: p["KmsKeyId"],
        "AWS::Logs::LogGroup": lambda p: p["KmsKeyId"],
        "AWS::Lambda::Function": lambda p: p["KmsKeyArn"],
        "AWS::RDS::DBCluster": lambda p: p["KmsKeyId"],
        "AWS::Scheduler::Schedule": lambda p: p["KmsKeyArn"],
        "AWS::StepFunctions::StateMachine": lambda p: p["EncryptionConfiguration"]["KmsKeyId"],
    }
    for type, of in kept.items():
        assert {of(r.properties) for r in each.resources(type)} <= {arn}, type
    for bucket in each.resources("AWS::S3::Bucket"):
        (rule,) = bucket.properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        how = rule["ServerSideEncryptionByDefault"]
        public_or_logs = bucket.properties["BucketName"].split("-")[2] in {"pages", "logs"}
        assert how == (
            {"SSEAlgorithm": "AES256"} if public_or_logs else {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": arn}
        )


def test_no_bucket_is_public_and_none_is_read_without_tls(each: Any) -> None:
    buckets = {r.logical: r for r in each.resources("AWS::S3::Bucket")}
    for bucket in buckets.values():
        assert set(bucket.properties["PublicAccessBlockConfiguration"].values()) == {True}
    refused = {
        policy.properties["Bucket"].strip("<>")
        for policy in each.resources("AWS::S3::BucketPolicy")
        for s in policy.properties["PolicyDocument"]["Statement"]
        if s["Effect"] == "Deny" and s["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    }
    assert refused == set(buckets)


def test_data_outlive_their_stack(each: Any) -> None:
    for type in DATA:
        assert all(r.retained for r in each.resources(type)), type
    buckets = {r.properties["BucketName"].split("-")[2]: r.retained for r in each.resources("AWS::S3::Bucket")}
    assert buckets == {"lake": True, "artefacts": True, "logs": True, "pages": False}


def test_uploads_under_way_are_kept_longer_than_any_snapshot_that_could_need_them(dev: Any) -> None:
    rules = dev.named("AWS::S3::Bucket", "Lake").properties["LifecycleConfiguration"]["Rules"]
    (days,) = [r["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for r in rules if "Abort" in str(r)]
    assert days == HALF_UPLOAD_DAYS > SNAPSHOT_DAYS


def test_firehose_writes_lines_where_the_batch_looks_for_them(dev: Any) -> None:
    delivery = dev.one("AWS::KinesisFirehose::DeliveryStream").properties
    lake = delivery["ExtendedS3DestinationConfiguration"]
    stamps = {"yyyy": "2026", "MM": "01", "dd": "05"}
    prefix = lake["Prefix"]
    for pattern, value in stamps.items():
        prefix = prefix.replace(f"!{{timestamp:{pattern}}}", value)
    assert prefix == day_prefix(date(2026, 1, 5))
    assert lake["ErrorOutputPrefix"].startswith(ERRORS_PREFIX)
    assert lake["CompressionFormat"] == "GZIP"
    (processor,) = lake["ProcessingConfiguration"]["Processors"]
    assert processor["Type"] == "AppendDelimiterToRecord"
    assert delivery["DeliveryStreamType"] == "KinesisStreamAsSource"


def test_athena_finds_what_the_stream_and_firehose_write(large: Any) -> None:
    values = {"shop": "tea", "year": "2026", "month": "01", "day": "05", "hour": "07"}
    found = {}
    for table in large.resources("AWS::Glue::Table"):
        given = table.properties["TableInput"]
        template = given["Parameters"]["storage.location.template"]
        for key, value in values.items():
            template = template.replace(f"${{{key}}}", value)
        found[given["Name"]] = template.removeprefix("s3://liveshelf-large-lake-123456789012-eu-central-1/")
        projected = {
            k.split(".")[1] for k in given["Parameters"] if k.startswith("projection.") and k.endswith(".type")
        }
        assert projected == {key["Name"] for key in given["PartitionKeys"]}
    day, hour = date(2026, 1, 5), "hour=07/"
    time = "year=2026/month=01/day=05/hour=07/"
    for name, path in (("totals", attribution_totals_path), ("units", attribution_units_path)):
        assert path("tea", day).startswith(found.pop(f"attribution_{name}"))
    assert found.pop("attribution_items").startswith(attribution_prefix("tea"))
    assert found == {
        "events": day_prefix(day),
        "item_features": features_day_prefix("tea", "item", day) + hour,
        "user_features": features_day_prefix("tea", "user", day) + hour,
        "dead_letter": dataset_prefix("tea", "dead-letter") + time,
        "served": dataset_prefix("tea", "served") + time,
    }


def test_the_application_is_what_the_package_holds_and_runs_as_the_benchmarks_do(dev: Any) -> None:
    application = dev.one("AWS::KinesisAnalyticsV2::Application").properties
    configuration = application["ApplicationConfiguration"]
    assert application["RuntimeEnvironment"] == "FLINK-1_20"
    assert configuration["ApplicationCodeConfiguration"]["CodeContent"]["S3ContentLocation"]["FileKey"].startswith(
        "flink/"
    )
    checkpoints = configuration["FlinkApplicationConfiguration"]["CheckpointConfiguration"]
    assert (
        f"{checkpoints['CheckpointInterval'] // 1000} s" == stream_settings().flink["execution.checkpointing.interval"]
    )
    assert configuration["ApplicationSnapshotConfiguration"] == {"SnapshotsEnabled": True}
    groups = {g["PropertyGroupId"]: g["PropertyMap"] for g in configuration["EnvironmentProperties"]["PropertyGroups"]}
    assert groups[RUN_OPTIONS_GROUP] == RUN_OPTIONS
    assert all(text for group in groups.values() for text in group.values()), "the service takes no empty value"


def test_nothing_in_the_network_is_reached_from_outside(each: Any) -> None:
    for group in each.resources("AWS::EC2::SecurityGroup"):
        for rule in group.properties.get("SecurityGroupIngress", []):
            assert rule.get("CidrIp", "10.20.0.0/16") == "10.20.0.0/16", group.logical
    for subnet in each.resources("AWS::EC2::Subnet"):
        assert subnet.properties["MapPublicIpOnLaunch"] is False


def test_every_alarm_tells_somebody_and_names_its_page_of_the_runbook(each: Any) -> None:
    topic = each.one("AWS::SNS::Topic")
    for alarm in each.resources("AWS::CloudWatch::Alarm"):
        name = alarm.properties["AlarmName"].removeprefix(f"liveshelf-{each.name}-")
        assert alarm.properties["AlarmActions"] == [f"<{topic.logical}>"]
        assert alarm.properties["AlarmDescription"].endswith(f"docs/runbook/{name}.md")
        assert len(alarm.properties["Metrics"]) <= 10, "CloudWatch takes ten figures an alarm"


def test_what_alarms_ask_of_the_job_is_reported_by_it(each: Any) -> None:
    from streaming.measures import METRICS

    ours = {metric.name for metrics in METRICS.values() for metric in metrics}
    asked = set()
    for alarm in each.resources("AWS::CloudWatch::Alarm"):
        for metric in alarm.properties["Metrics"]:
            figure = metric.get("MetricStat", {}).get("Metric", {})
            if figure.get("Namespace") == FLINK and "_" in (name := figure["MetricName"]):
                asked.add(name)
            elif "_" in (query := metric.get("Expression", "")) and query.startswith("SELECT"):
                asked.add(query.partition("MAX(")[2].partition(")")[0])
    assert {"freshness_p99_ms", "model_age_s", "events_in", "rejected_not_json"} <= asked <= ours


def test_alarms_of_the_service_look_at_its_balancer_and_its_tasks(large: Any, dev: Any) -> None:
    made = large.one("AWS::ElasticLoadBalancingV2::LoadBalancer")
    balancer = {"LoadBalancer": f"<{made.logical}.LoadBalancerFullName>"}
    service, cluster = large.one("AWS::ECS::Service").properties, large.one("AWS::ECS::Cluster").properties
    tasks = {"ClusterName": cluster["ClusterName"], "ServiceName": service["ServiceName"]}
    errors, short = (large.named("AWS::CloudWatch::Alarm", name) for name in ("ServiceErrors", "ServiceShort"))
    assert _figures(errors) == {  # ELB guide, "CloudWatch metrics for your Application Load Balancer"
        "faults": ("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "Sum", balancer),
        "lost": ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", "Sum", balancer),
        "calls": ("AWS/ApplicationELB", "RequestCount", "Sum", balancer),
    }
    assert _figures(short) == {  # ECS guide, "Amazon ECS Container Insights metrics"
        "wanted": ("ECS/ContainerInsights", "DesiredTaskCount", "Minimum", tasks),
        "running": ("ECS/ContainerInsights", "RunningTaskCount", "Minimum", tasks),
    }
    (told,) = [each["Expression"] for each in short.properties["Metrics"] if "Expression" in each]
    assert told == "wanted - FILL(running, 0)"
    assert short.properties["TreatMissingData"] == "breaching", "of a service without a task nothing is reported"
    assert {errors.stack, short.stack} == {made.stack}, "the balancer's name must not bind two stacks"
    assert not [a for a in dev.resources("AWS::CloudWatch::Alarm") if "-service-" in a.properties["AlarmName"]]


def _figures(alarm: Any) -> dict[str, tuple[Any, ...]]:
    found = {}
    for each in alarm.properties["Metrics"]:
        if stat := each.get("MetricStat"):
            dimensions = {d["Name"]: d["Value"] for d in stat["Metric"]["Dimensions"]}
            found[each["Id"]] = (stat["Metric"]["Namespace"], stat["Metric"]["MetricName"], stat["Stat"], dimensions)
    return found


def test_an_update_of_the_service_leaves_its_number_of_tasks(large: Any) -> None:
    assert "DesiredCount" not in large.one("AWS::ECS::Service").properties
    assert large.one("AWS::ApplicationAutoScaling::ScalableTarget").properties["MinCapacity"] == 3


def test_the_image_of_the_service_can_be_named_by_its_digest(large: Any) -> None:
    digest = f"sha256:{'1' * 64}"
    (serving,) = (each for each in read_assembly(large.folder) if each.unit == "serving")
    assert image_of([serving], "liveshelf-large-service") == "liveshelf-large-service:current"
    (after,) = pinned([serving], "liveshelf-large-service", digest)
    assert image_of([after], "liveshelf-large-service") == f"liveshelf-large-service@{digest}"


def test_cloudfront_reaches_the_service_and_its_balancer_may_write_its_logs(large: Any) -> None:
    balancer = large.one("AWS::ElasticLoadBalancingV2::LoadBalancer").properties["LoadBalancerAttributes"]
    logs = {a["Key"]: a["Value"] for a in balancer if a["Key"].startswith("access_logs")}
    into = f"arn:aws:s3:::{logs['access_logs.s3.bucket']}/{logs['access_logs.s3.prefix']}/AWSLogs/123456789012/*"
    policies = [r.properties["PolicyDocument"]["Statement"] for r in large.resources("AWS::S3::BucketPolicy")]
    writers = [s["Principal"] for statements in policies for s in statements if s["Resource"] == into]
    assert writers == [{"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}]
    # A VPC without an internet gateway is no origin; a route to it would be a way out.
    attached = large.one("AWS::EC2::VPCGatewayAttachment").properties["InternetGatewayId"]
    assert attached == f"<{large.one('AWS::EC2::InternetGateway').logical}>"
    assert not large.resources("AWS::EC2::Route")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--domain", "shop.example"], "--certificate-arn is not given"),
        (["--certificate-arn", "arn:aws:acm:us-east-1:123456789012:certificate/0"], "--domain is not given"),
        (["--domain", "s.example", "--certificate-arn", "arn:aws:acm:eu-west-1:1:certificate/0"], "us-east-1 alone"),
        (["--shops", "tea,cups,tea"], "names a shop twice"),
    ],
)
def test_words_that_do_not_fit_are_refused_in_one_sentence(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from deploy.cdk.app import main

    assert main(words) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1


def test_pages_behind_cloudfront_may_do_what_they_may_at_the_service_and_find_the_same_routes(dev: Any) -> None:
    headers = dev.one("AWS::CloudFront::ResponseHeadersPolicy").properties["ResponseHeadersPolicyConfig"]
    policy = headers["SecurityHeadersConfig"]["ContentSecurityPolicy"]["ContentSecurityPolicy"].split("; ")
    own = dict(each.split(" ", 1) for each in pages._POLICY["Content-Security-Policy"].split("; "))
    assert all(set(allowed.split()) <= set(_directive(policy, name)) for name, allowed in own.items())
    config = dev.one("AWS::CloudFront::Distribution").properties["DistributionConfig"]
    brought = {each["PathPattern"]: each["TargetOriginId"] for each in config["CacheBehaviors"]}
    assert brought["/openapi.json"] == brought["/v1/*"] != config["DefaultCacheBehavior"]["TargetOriginId"]


def _directive(policy: list[str], name: str) -> list[str]:
    return next(each.split()[1:] for each in policy if each.split()[0] == name)


def test_the_recommendations_of_a_big_shop_are_kept_warm_and_it_is_those_that_the_api_calls(large: Any) -> None:
    from deploy.cdk.profiles import PROFILES

    alias = large.one("AWS::Lambda::Alias")
    kept = alias.properties["ProvisionedConcurrencyConfig"]["ProvisionedConcurrentExecutions"]
    assert kept == PROFILES["large"].warm_functions > 0
    version = large.one("AWS::Lambda::Version")
    assert alias.properties["FunctionVersion"] == f"<{version.logical}.Version>"
    called = large.named("AWS::ApiGatewayV2::Integration", "Recommend").properties["IntegrationUri"]
    allowed = large.named("AWS::Lambda::Permission", "Recommend").properties["FunctionName"]
    assert called == allowed == f"<{alias.logical}>"


def test_new_code_of_a_function_that_is_kept_warm_is_another_version(tmp_path: Path) -> None:
    """CloudFormation makes a version once for each logical name: the same one would keep the old code for ever."""
    from aws_cdk import App, Stack
    from aws_cdk.aws_lambda import CfnFunction

    from deploy.cdk.functions import _kept_warm

    def version(key: str, memory: int) -> str:
        stack = Stack(App(outdir=str(tmp_path)), "s")
        code = CfnFunction.CodeProperty(s3_bucket="b", s3_key=key)
        made = CfnFunction(stack, "F", role="r", code=code, memory_size=memory)
        artefact = type("A", (), {"key": key})
        _kept_warm(stack, "F", made, type("As", (), {"functions": artefact}), 1)  # type: ignore[arg-type]
        return next(c.node.id for c in stack.node.children if c.node.id.startswith("FVersion"))

    assert version("a", 512) == version("a", 512)
    assert len({version("a", 512), version("b", 512), version("a", 1024)}) == 3


def test_the_image_s_repository_is_made_before_the_tasks_that_need_it(dev: Any, large: Any) -> None:
    assert large.one("AWS::ECR::Repository").stack == "foundation"
    assert not dev.resources("AWS::ECR::Repository")
    (container,) = large.one("AWS::ECS::TaskDefinition").properties["ContainerDefinitions"]
    name = large.one("AWS::ECR::Repository").properties["RepositoryName"]
    assert container["Image"].endswith(f"/{name}:current")
