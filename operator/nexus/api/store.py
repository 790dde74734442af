"""What travels beside the status: the output store, and artifacts (files and folders) from task to task."""

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
"""Artifacts that one task may take, and may leave."""


class OutputStore(Model):
    """Where outputs above 512 KiB and artifacts are kept."""

    url: StoreUrl | None = None
    """s3://bucket/prefix, gs://bucket/prefix, az://account/container/prefix, or file:///prefix within volumeClaim.
    Default: the store of the operator. Everything of a run lies below NAMESPACE/RUN/."""
    endpoint: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$", max_length=512)] | None = None
    """Address of an S3-compatible server that is not Amazon's, as https://minio.example:9000."""
    region: Annotated[str, StringConstraints(pattern=r"^[-a-z0-9]+$", max_length=64)] | None = None
    """Region of an S3 bucket. Default us-east-1."""
    credentials_secret: ObjectName | None = None
    """Name of a Secret in the run's namespace whose keys are the store's own variables: AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY; GOOGLE_SERVICE_ACCOUNT_KEY; AZURE_STORAGE_ACCOUNT_KEY. Only the containers that move data get
    it, task code does not. Without it: what the pod's service account may do."""
    volume_claim: ObjectName | None = None
    """Name of a PersistentVolumeClaim in the run's namespace, for a url of file:///. It is mounted in every pod that
    moves data, so with several nodes it has to be ReadWriteMany."""


class ArtifactInput(Model):
    """A file or folder that an earlier task left."""

    name: ArtifactName
    """The task finds it at `artifacts["name"]` (python) and $ARTIFACT_NAME (everywhere; a hyphen is written as _)."""
    from_: ArtifactSource = Field(alias="from")
    """TASK.ARTIFACT: an artifact in the outputs of a task before this one."""
    optional: bool | None = None
    """Go on without it where that task did not succeed or did not leave it, instead of failing."""


class ArtifactOutput(Model):
    """A file or folder that the task leaves for later ones."""

    name: ArtifactName
    """The task writes a file, or makes a folder, at `artifacts["name"]` (python) or $ARTIFACT_NAME (everywhere)."""
    optional: bool | None = None
    """The task may leave it out, instead of failing."""


class Artifacts(Model):
    """Files and folders that the task takes and leaves, by way of the output store. Names are unique in both lists
    together."""

    inputs: Annotated[list[ArtifactInput], Field(max_length=MOST_ARTIFACTS)] | None = None
    """What is there before the task starts, checked against its SHA-256."""
    outputs: Annotated[list[ArtifactOutput], Field(max_length=MOST_ARTIFACTS)] | None = None
    """What is stored when the task has exited with 0; only then the task has succeeded."""


class StoredObject(Model):
    """An object of the output store."""

    key: Key
    """Its key, below the store's url."""
    size: Bytes
    """Its bytes."""
    sha256: Sha256
    """SHA-256 of them, checked by everybody who reads it."""


class StoredArtifact(StoredObject):
    """An artifact in the output store."""

    name: ArtifactName
    """Its name."""
    folder: bool | None = None
    """True for a folder, which is stored as a tar file."""
