"""Data outside of the status: the output store, and artifacts (files and folders) from task to task."""

from typing import Annotated

from pydantic import Field, StringConstraints

from nexus.api.base import Model

# As nexus.api.tasks has them; that module imports this one.
ObjectName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)
]
ArtifactName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$", max_length=40)]
ArtifactSource = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?\.[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$", max_length=81
    ),
]
StoreUrl = Annotated[
    str,
    StringConstraints(
        pattern=r"^((s3|gs|az)://[A-Za-z0-9][-A-Za-z0-9._/]*|file:///([A-Za-z0-9_][-A-Za-z0-9._/]*)?)$", max_length=512
    ),
]
Key = Annotated[str, StringConstraints(max_length=512)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Bytes = Annotated[int, Field(ge=0, le=2**53)]

MOST_ARTIFACTS = 10
"""Maximum number of input artifacts, and of output artifacts, of one task."""


class OutputStore(Model):
    """Object store for artifacts and for outputs above 512 KiB."""

    url: StoreUrl | None = None
    """URL of the store: s3://bucket/prefix, gs://bucket/prefix, az://account/container/prefix, or file:///prefix within
    volumeClaim. Default: the operator's store. All objects of a run are below NAMESPACE/RUN/."""
    endpoint: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$", max_length=512)] | None = None
    """Address of an S3-compatible server, such as https://minio.example:9000. Default: Amazon's."""
    region: Annotated[str, StringConstraints(pattern=r"^[-a-z0-9]+$", max_length=64)] | None = None
    """Region of an S3 bucket. Default us-east-1."""
    credentials_secret: ObjectName | None = None
    """Name of a Secret in the run's namespace whose keys are the store's own variables: AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY; GOOGLE_SERVICE_ACCOUNT_KEY; AZURE_STORAGE_ACCOUNT_KEY. Only the containers that transfer data
    receive it, task code does not. Default: the permissions of the pod's service account."""
    volume_claim: ObjectName | None = None
    """Name of a PersistentVolumeClaim in the run's namespace, for a url of file:///. It is mounted in every pod that
    transfers data; with several nodes it must be ReadWriteMany."""


class ArtifactInput(Model):
    """A file or folder from an upstream task."""

    name: ArtifactName
    """Name of the artifact. Its path is `artifacts["name"]` in python and $ARTIFACT_NAME everywhere, with _ for each
    hyphen."""
    from_: ArtifactSource = Field(alias="from")
    """Source as TASK.ARTIFACT: an output artifact of an upstream task."""
    optional: bool | None = None
    """Continue without it if that task did not succeed or did not create it, instead of failing. Default false."""


class ArtifactOutput(Model):
    """A file or folder that the task creates for downstream tasks."""

    name: ArtifactName
    """Name of the artifact. The task creates the file or folder at `artifacts["name"]` in python, $ARTIFACT_NAME
    everywhere, with _ for each hyphen."""
    optional: bool | None = None
    """Continue if the task did not create it, instead of failing. Default false."""


class Artifacts(Model):
    """Input and output files and folders of the task, kept in the output store. Names are unique in both lists
    together."""

    inputs: Annotated[list[ArtifactInput], Field(max_length=MOST_ARTIFACTS)] | None = None
    """Artifacts that are there before the task starts, checked against their SHA-256."""
    outputs: Annotated[list[ArtifactOutput], Field(max_length=MOST_ARTIFACTS)] | None = None
    """Artifacts that are stored after the task exits with 0; the task has succeeded once they are stored."""


class StoredObject(Model):
    """An object of the output store."""

    key: Key
    """Key of the object, below the store's url."""
    size: Bytes
    """Size, in bytes."""
    sha256: Sha256
    """SHA-256 of the content, checked at every read."""


class StoredArtifact(StoredObject):
    """An artifact in the output store."""

    name: ArtifactName
    """Name of the artifact."""
    folder: bool | None = None
    """True for a folder, which is stored as a tar file."""
