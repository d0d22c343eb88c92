"""The service's image: pushed by hand under one tag, deployed by its digest.

A tag can be moved, so a template that names one says nothing of what runs: CloudFormation would see no change where a
new image was pushed, and a release that is gone back to would get the new one. A digest names one image for good.
"""

import re
from collections.abc import Sequence

from botocore.exceptions import ClientError

from contracts.errors import DeploymentError
from deploy.artefacts import IMAGE_TAG
from deploy.assembly import Template
from deploy.cloud import Cloud, understood

__all__ = ["has_service", "image_of", "pinned", "with_image"]

_ABSENT = ("ImageNotFoundException", "RepositoryNotFoundException")


def with_image(cloud: Cloud, repository: str, templates: Sequence[Template]) -> list[Template]:
    """The templates as they can be deployed: those that run the service name the image that the tag is at now.

    Raises:
        DeploymentError: there is no such image, or no template names it. Tasks that find none fail after minutes, and
            their stack with them, so the message holds the commands that make it.
    """
    if not has_service(templates):
        return [*templates]
    digest = _digest(cloud, repository)
    found = pinned(templates, repository, digest)
    if image_of(found, repository) != f"{repository}@{digest}":
        message = f"no template names the service's image as {repository}:{IMAGE_TAG}; see deploy/cdk/service.py"
        raise DeploymentError(message)
    return found


def has_service(templates: Sequence[Template]) -> bool:
    """Whether any of the stacks runs the service."""
    return any(made["Type"] == "AWS::ECS::Service" for each in templates for made in each.resources.values())


def pinned(templates: Sequence[Template], repository: str, digest: str) -> list[Template]:
    """The templates with the image's digest instead of its tag.

    >>> pinned([Template("a", '{"Image": "host/shop:current"}')], "shop", "sha256:12")[0].body
    '{"Image": "host/shop@sha256:12"}'
    """
    tagged = f"/{repository}:{IMAGE_TAG}"
    return [Template(each.name, each.body.replace(f'{tagged}"', f'/{repository}@{digest}"')) for each in templates]


def image_of(templates: Sequence[Template], repository: str) -> str | None:
    """The image as the templates name it, from the repository's name on; None where they name none.

    >>> image_of([Template("a", '{"Image": "host/shop@sha256:12"}')], "shop")
    'shop@sha256:12'
    """
    named = re.compile(rf'/({re.escape(repository)}[:@][^"]+)"')
    found = [match[1] for each in templates for match in named.finditer(each.body)]
    return found[0] if found else None


def _digest(cloud: Cloud, repository: str) -> str:
    with understood(f"image repository {repository}"):
        try:
            asked = [{"imageTag": IMAGE_TAG}]
            found = cloud.client("ecr").describe_images(repositoryName=repository, imageIds=asked)
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in _ABSENT:
                raise
        else:
            return str(found["imageDetails"][0]["imageDigest"])
    host = f"{cloud.account}.dkr.ecr.{cloud.region}.amazonaws.com"
    message = (
        f"the service's image {host}/{repository}:{IMAGE_TAG} is not there; make it, then repeat the command:\n"
        f"    docker build --platform linux/amd64 -f deploy/service/Dockerfile -t {host}/{repository}:{IMAGE_TAG} .\n"
        f"    aws ecr get-login-password --region {cloud.region} | "
        f"docker login --username AWS --password-stdin {host}\n"
        f"    docker push {host}/{repository}:{IMAGE_TAG}"
    )
    raise DeploymentError(message)
