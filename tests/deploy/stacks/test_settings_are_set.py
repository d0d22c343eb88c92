"""Whatever the code reads from its properties or its environment is set by a template, and nothing that it does not."""

import json
import re
from pathlib import Path
from typing import Any

from contracts.settings import ENVIRONMENT_VARIABLE, Settings, to_properties
from deploy.cdk.deployed import LOCAL_ONLY, STREAM_ONLY
from deploy.flink_zip import RUN_OPTIONS_GROUP
from local.paths import checkout

DEPLOYED = ("contracts", "stores", "streaming", "batch", "serving")
ELSEWHERE = {
    "LIVESHELF_FLINK_URL": "the local dashboard's address; on AWS the console shows it",
    "LIVESHELF_SPARK_JARS": "jars that EMR has by itself",
}
"""Variables that only other ways to run set."""
NO_VALUE = {
    ("liveshelf.serving", "cors.origins"),
    ("liveshelf.serving", "page.key"),
    ("liveshelf.serving", "baked.folder"),
    ("liveshelf.postgresql", "ca.bundle"),
    ("liveshelf.postgresql", "secret"),
    ("liveshelf", "redis.user"),
    ("liveshelf", "redis.cache"),
}
"""Empty by default: left out where they are, since the managed service takes no empty value."""


def groups_of_stream(deployment: Any) -> dict[str, dict[str, str]]:
    application = deployment.one("AWS::KinesisAnalyticsV2::Application").properties["ApplicationConfiguration"]
    return {g["PropertyGroupId"]: g["PropertyMap"] for g in application["EnvironmentProperties"]["PropertyGroups"]}


def groups_of_functions(deployment: Any) -> dict[str, dict[str, dict[str, str]]]:
    found = {}
    for function in deployment.resources("AWS::Lambda::Function"):
        text = function.properties["Environment"]["Variables"][ENVIRONMENT_VARIABLE]
        found[function.logical] = {g["PropertyGroupId"]: g["PropertyMap"] for g in json.loads(text)}
    return found


def groups_of_training(deployment: Any) -> dict[str, dict[str, str]]:
    machine = deployment.one("AWS::StepFunctions::StateMachine").properties["DefinitionSubstitutions"]
    text = machine["Settings"].removeprefix("base64(").removesuffix(")")
    return {g["PropertyGroupId"]: g["PropertyMap"] for g in json.loads(text)}


def named(groups: Any) -> set[tuple[str, str]]:
    return {(group, key) for group, values in groups.items() for key in values}


def test_every_property_that_the_code_reads_is_set_by_a_template_and_no_other(dev: Any, large: Any) -> None:
    read = named({g["PropertyGroupId"]: g["PropertyMap"] for g in to_properties(Settings())})
    local_only = named(LOCAL_ONLY)
    assert local_only <= read
    for deployment in (dev, large):
        functions = groups_of_functions(deployment)
        parts = [groups_of_stream(deployment), groups_of_training(deployment), *functions.values()]
        for groups in parts:
            written = named({name: values for name, values in groups.items() if name != RUN_OPTIONS_GROUP})
            assert written <= read - local_only
        everywhere = set().union(*map(named, parts)) - {(RUN_OPTIONS_GROUP, k) for k in parts[0][RUN_OPTIONS_GROUP]}
        assert read - local_only - everywhere <= NO_VALUE
    assert ("liveshelf.postgresql", "secret") in named(groups_of_training(large))


def test_what_serves_is_not_told_what_only_the_stream_reads(dev: Any, large: Any) -> None:
    """Its code may be older than a new property of the stream, and an unknown one is refused."""
    for deployment in (dev, large):
        assert all(STREAM_ONLY not in groups for groups in groups_of_functions(deployment).values())
        assert STREAM_ONLY in groups_of_stream(deployment)
        assert STREAM_ONLY in groups_of_training(deployment)
    (task,) = large.resources("AWS::ECS::TaskDefinition")
    (container,) = task.properties["ContainerDefinitions"]
    told = {each["Name"]: each["Value"] for each in container["Environment"]}[ENVIRONMENT_VARIABLE]
    assert STREAM_ONLY not in json.dumps(told)
    assert "liveshelf.serving" in json.dumps(told)


def test_the_code_reads_its_settings_back_and_each_part_is_itself(dev: Any, large: Any) -> None:
    for deployment in (dev, large):
        deployment.known |= {"CacheEndpoint": "cache.example"}
        name = f"liveshelf-{deployment.name}"
        parts = {
            "stream": groups_of_stream(deployment),
            "trainer": groups_of_training(deployment),
            "serving": groups_of_functions(deployment)["Recommend"],
        }
        for part, groups in parts.items():
            filled = {g: {k: fill(v) for k, v in values.items()} for g, values in groups.items()}
            settings = Settings.from_properties(filled)
            assert settings.redis_tls
            assert settings.redis_user == f"{name}-{part}"
            assert settings.redis_cache == name
            assert settings.aws_endpoint is None
            assert settings.aws_region == "eu-central-1"
            assert settings.lake_bucket == f"{name}-lake-123456789012-eu-central-1"
            assert settings.persistent_store == ("postgresql" if deployment.name == "large" else "dynamodb")
    assert Settings.from_properties(parts["serving"] | {"liveshelf": {}}).serving.keys == "secret:liveshelf-large/keys"


def fill(text: str) -> str:
    """A value for what only AWS knows: the cache's endpoint and its port."""
    return re.sub(r"<[^>]*Endpoint\.Address>", "cache.example", re.sub(r"<[^>]*Endpoint\.Port>", "6379", text))


def test_every_variable_that_the_code_reads_is_set_where_it_runs(dev: Any, large: Any) -> None:
    words = re.compile(r"\bLIVESHELF_[A-Z_]+\b")
    files = [path for package in DEPLOYED for path in Path(checkout(), package).rglob("*.py")]
    read = {word for path in files for word in words.findall(path.read_text())}
    for deployment in (dev, large):
        assert read == {ENVIRONMENT_VARIABLE, "LIVESHELF_FLINK_APPLICATION", *ELSEWHERE}
        for function in deployment.resources("AWS::Lambda::Function"):
            own = {"LIVESHELF_FLINK_APPLICATION"} if function.logical == "Control" else set()
            assert set(function.properties["Environment"]["Variables"]) == {ENVIRONMENT_VARIABLE, *own}
        for task in deployment.resources("AWS::ECS::TaskDefinition"):
            (container,) = task.properties["ContainerDefinitions"]
            assert {each["Name"] for each in container["Environment"]} == {
                ENVIRONMENT_VARIABLE,
                "LIVESHELF_FLINK_APPLICATION",
            }


def test_a_function_is_not_told_more_than_lambda_takes(large: Any) -> None:
    for function in large.resources("AWS::Lambda::Function"):
        variables = function.properties["Environment"]["Variables"]
        assert sum(len(k) + len(v) for k, v in variables.items()) < 3900, "Lambda takes 4 KB, tokens may grow"
