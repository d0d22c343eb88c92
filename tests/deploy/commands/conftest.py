"""A deployment in an account that is played (:mod:`fake_aws`), and what it takes to bring it up, forward and down."""

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import deploy.upgrade
from contracts.errors import DeploymentError
from deploy.artefacts import Artefact, Artefacts
from deploy.assembly import Template
from deploy.deployment import Deployment
from deploy.up import bring_up
from deploy.upgrade import upgrade


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


fake = _load("fake_aws")


class Place(Deployment):
    """A deployment whose output flows where the fake says so: the probe itself is tested on a real stream."""

    aws: Any

    def check_output(self, seconds: float = 900) -> None:
        if not self.aws.application.flows:
            message = "no output for the event"
            raise DeploymentError(message)

    @property
    def bucket(self) -> str:
        """Of its artefacts."""
        return f"{self.prefix}-artefacts"

    def built(self, version: str) -> Artefacts:
        """Artefacts of a version, as files."""

        def artefact(kind: str) -> Artefact:
            data = f"{kind} {version}".encode()
            file = self.root / f"{kind}-{version}"
            file.write_bytes(data)
            return Artefact(key=f"{kind}/{version}.zip", sha256=hashlib.sha256(data).hexdigest(), file=file.name)

        return Artefacts(
            flink=artefact("flink"),
            spark_environment=artefact("spark-environment"),
            spark_main=artefact("spark-main"),
            spark_bootstrap=artefact("spark-bootstrap"),
            functions=artefact("functions"),
        )

    def templates(self, artefacts: Artefacts) -> list[Template]:
        """A stack each that is kept, that holds data, that runs code, and that serves."""

        def stack(unit: str, **resources: Any) -> Template:
            return Template(f"{self.prefix}-{unit}", json.dumps({"Resources": resources}))

        content = {"S3ContentLocation": {"FileKey": artefacts.flink.key}}
        configuration = {"ApplicationCodeConfiguration": {"CodeContent": content}}
        properties = {"ApplicationConfiguration": configuration}
        code = {"Type": "AWS::KinesisAnalyticsV2::Application", "Properties": properties}
        function = {"Type": "AWS::Lambda::Function", "Properties": {"Key": artefacts.functions.key}}
        key = {"Type": "AWS::KMS::Key", "DeletionPolicy": "Retain"}
        lake = {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain"}
        return [
            stack("foundation", Key=key),
            stack("ingestion", Lake=lake, Role={"Type": "AWS::IAM::Role"}),
            stack("streaming", Application=code),
            stack("serving", Function=function),
        ]

    def up(self, version: str) -> Artefacts:
        """Deploy a version."""
        artefacts = self.built(version)
        bring_up(self, artefacts, self.templates(artefacts), ["--shops", "tea"])
        return artefacts

    def upgrade_to(self, version: str, dry_run: bool = False) -> list[list[str]]:
        """Upgrade to a version; returns the words that each synthesis was given."""
        artefacts, asked = self.built(version), []

        def prepared(env: str, words: list[str]) -> Any:
            asked.append(words)
            return artefacts, self.templates(artefacts)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(deploy.upgrade, "prepared", prepared)
            upgrade(self, [], dry_run=dry_run)
        return asked

    def up_with_database(self) -> None:
        """Deploy, with a PostgreSQL cluster in a network of its own."""
        artefacts = self.built("1")
        foundation, *rest = self.templates(artefacts)
        endpoint = {"VpcEndpointType": "Interface", "SubnetIds": ["a", "b"]}
        parts = {
            "network": {
                "Subnet": {"Type": "AWS::EC2::Subnet"},
                "Kms": {"Type": "AWS::EC2::VPCEndpoint", "Properties": endpoint},
            },
            "stores": {
                "Database": {"Type": "AWS::RDS::DBCluster", "DeletionPolicy": "Retain"},
                "DatabaseWriter": {"Type": "AWS::RDS::DBInstance", "DeletionPolicy": "Retain"},
                "DatabaseSubnets": {"Type": "AWS::RDS::DBSubnetGroup"},
            },
        }
        made = [Template(f"{self.prefix}-{unit}", json.dumps({"Resources": found})) for unit, found in parts.items()]
        self.aws.application.healthy = {"flink/1.zip"}
        bring_up(self, artefacts, [foundation, *made, *rest], [])
        self.aws.cluster = {
            "DBClusterIdentifier": self.prefix,
            "Status": "available",
            "DeletionProtection": True,
            "DBClusterMembers": [{"DBInstanceIdentifier": "writer"}],
            "ServerlessV2ScalingConfiguration": {"MinCapacity": 0.5, "MaxCapacity": 4.0},
        }
        self.aws.answers |= {
            "GetMetricStatistics": {"Datapoints": []},
            "ListObjectVersions": {"IsTruncated": False},
            "DeleteBucket": {},
            "DescribeKey": {"KeyMetadata": {"KeyId": "k", "KeyState": "Enabled"}},
            "ScheduleKeyDeletion": {},
        }


@pytest.fixture
def aws() -> Any:
    return fake.FakeAws()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def place(aws: Any, said: list[str], tmp_path: Path) -> Place:
    ticks = iter(range(10**9))
    found = Place("dev", aws.cloud(), said.append, lambda _: None, lambda: float(next(ticks)), tmp_path)
    found.aws = aws
    aws.outputs = {
        f"{found.prefix}-foundation": {"ArtefactBucket": found.bucket},
        f"{found.prefix}-serving": {"ApiUrl": "https://api.example"},
    }
    return found
