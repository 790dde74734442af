"""What a task may ask of its pod: an allow-list. What is not here cannot be written, so no task weakens its pod."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from nexus.api.base import Model

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)]
VolumeName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
# A prefix of 253, a slash and a name of 63 characters.
Key = Annotated[str, StringConstraints(min_length=1, max_length=317)]
# As text, since the rendered ones are: what is no label value is found when it is known.
Value = Annotated[str, StringConstraints(max_length=1_100)]
Quantity = int | Annotated[str, StringConstraints(max_length=1_100)]
Path = Annotated[str, StringConstraints(min_length=1, max_length=1_024)]
Mode = Annotated[int, Field(ge=0, le=0o777)]
Id = Annotated[int, Field(ge=0, le=2**31 - 1)]
Short = Annotated[str, StringConstraints(max_length=253)]


class Resources(Model):
    """What the container gets and may use, by resource: cpu, memory, ephemeral-storage, nvidia.com/gpu."""

    requests: Annotated[dict[Key, Quantity], Field(max_length=20)] | None = None
    """What the scheduler keeps for it. `${{ }}` is rendered."""
    limits: Annotated[dict[Key, Quantity], Field(max_length=20)] | None = None
    """What it may not exceed; over its memory it ends OutOfMemory. `${{ }}` is rendered."""


class KeyToPath(Model):
    """One key of a Secret or ConfigMap as a file."""

    key: Short
    """The key."""
    path: Path
    """Name of the file, below the mount."""
    mode: Mode | None = None
    """Permissions of the file."""


class EmptyDir(Model):
    """An empty folder that lives as long as the pod."""

    medium: Literal["", "Memory", "HugePages"] | None = None
    """Memory: a tmpfs, which counts towards the memory limit."""
    size_limit: Quantity | None = None
    """Over it the pod is evicted."""


class ConfigMapVolume(Model):
    """The keys of a ConfigMap as files."""

    name: Name
    """Name of the ConfigMap."""
    items: Annotated[list[KeyToPath], Field(max_length=100)] | None = None
    """The keys to take; default all."""
    default_mode: Mode | None = None
    """Permissions of the files."""
    optional: bool | None = None
    """Go on without it where it is missing."""


class SecretVolume(Model):
    """The keys of a Secret as files."""

    secret_name: Name
    """Name of the Secret."""
    items: Annotated[list[KeyToPath], Field(max_length=100)] | None = None
    """The keys to take; default all."""
    default_mode: Mode | None = None
    """Permissions of the files."""
    optional: bool | None = None
    """Go on without it where it is missing."""


class ClaimVolume(Model):
    """A PersistentVolumeClaim that exists."""

    claim_name: Name
    """Its name."""
    read_only: bool | None = None
    """Mount it read-only."""


class ProjectedSecret(Model):
    """A Secret within a projected volume."""

    name: Name
    """Name of the Secret."""
    items: Annotated[list[KeyToPath], Field(max_length=100)] | None = None
    """The keys to take; default all."""
    optional: bool | None = None
    """Go on without it where it is missing."""


class Source(Model):
    """One part of a projected volume: exactly one of the two."""

    config_map: ProjectedSecret | None = None
    """A ConfigMap."""
    secret: ProjectedSecret | None = None
    """A Secret."""


class Projected(Model):
    """Several Secrets and ConfigMaps in one folder."""

    sources: Annotated[list[Source], Field(min_length=1, max_length=20)]
    """The parts."""
    default_mode: Mode | None = None
    """Permissions of the files."""


class SelectorRequirement(Model):
    """A condition on a label."""

    key: Key
    """The label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How it is compared."""
    values: Annotated[list[Short], Field(max_length=100)] | None = None
    """With what."""


class LabelSelector(Model):
    """Objects by their labels."""

    match_labels: Annotated[dict[Key, Short], Field(max_length=50)] | None = None
    """Labels and their values."""
    match_expressions: Annotated[list[SelectorRequirement], Field(max_length=50)] | None = None
    """Conditions on labels."""


class ClaimMetadata(Model):
    """Labels and annotations of a claim."""

    labels: Annotated[dict[Key, Short], Field(max_length=50)] | None = None
    """Labels."""
    annotations: Annotated[dict[Key, Value], Field(max_length=50)] | None = None
    """Annotations."""


class ClaimSpec(Model):
    """The claim that is made for the pod."""

    access_modes: Annotated[list[Short], Field(min_length=1, max_length=4)]
    """ReadWriteOnce, ReadOnlyMany, ReadWriteMany or ReadWriteOncePod."""
    resources: Resources
    """requests.storage: how much."""
    storage_class_name: Short | None = None
    """Name of the StorageClass."""
    volume_mode: Literal["Filesystem"] | None = None
    """Filesystem."""
    selector: LabelSelector | None = None
    """Which volumes may serve."""


class ClaimTemplate(Model):
    """A claim that lives as long as the pod."""

    metadata: ClaimMetadata | None = None
    """Its labels and annotations."""
    spec: ClaimSpec
    """What is claimed."""


class Ephemeral(Model):
    """A volume that is made for the pod and goes with it."""

    volume_claim_template: ClaimTemplate
    """The claim."""


class SecretName(Model):
    """A Secret in the run's namespace."""

    name: Name
    """Its name."""


class Csi(Model):
    """A volume of a CSI driver for pods, such as one for secrets."""

    driver: Name
    """Name of the driver."""
    read_only: bool | None = None
    """Mount it read-only."""
    fs_type: Short | None = None
    """Filesystem, where the driver asks for it."""
    volume_attributes: Annotated[dict[Key, Value], Field(max_length=50)] | None = None
    """What the driver is told."""
    node_publish_secret_ref: SecretName | None = None
    """A Secret for the driver."""


class Volume(Model):
    """A volume of the pod: exactly one source. There is no hostPath and no token of a service account."""

    name: VolumeName
    """Its name, for volumeMounts; tmp and nexus are taken."""
    empty_dir: EmptyDir | None = None
    """An empty folder that lives as long as the pod: medium, sizeLimit."""
    config_map: ConfigMapVolume | None = None
    """The keys of a ConfigMap as files: name, items, defaultMode, optional."""
    secret: SecretVolume | None = None
    """The keys of a Secret as files: secretName, items, defaultMode, optional."""
    persistent_volume_claim: ClaimVolume | None = None
    """A PersistentVolumeClaim that exists: claimName, readOnly."""
    ephemeral: Ephemeral | None = None
    """A claim that is made for the pod and goes with it: volumeClaimTemplate."""
    projected: Projected | None = None
    """Several Secrets and ConfigMaps in one folder: sources, defaultMode."""
    csi: Csi | None = None
    """A volume of a CSI driver for pods: driver, volumeAttributes, nodePublishSecretRef."""


VOLUME_SOURCES: dict[str, str] = {
    name: field.alias or name for name, field in Volume.model_fields.items() if name != "name"
}
"""The sources of a volume: the attribute, and the field as manifests write it."""


class VolumeMount(Model):
    """Where a volume is seen in the container."""

    name: VolumeName
    """Name of the volume."""
    mount_path: Path
    """Its place, absolute; /tmp and /nexus are taken."""
    sub_path: Path | None = None
    """A folder of the volume, instead of its root."""
    read_only: bool | None = None
    """Mount it read-only."""


class Toleration(Model):
    """A taint that does not keep the pod from a node."""

    key: Annotated[str, StringConstraints(max_length=317)] | None = None
    """Key of the taint; none, with operator Exists, for all."""
    operator: Literal["Exists", "Equal"] | None = None
    """Equal (default) or Exists."""
    value: Short | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; none for all."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """How long a NoExecute taint is borne."""


class NodeTerm(Model):
    """Nodes that meet all of its conditions."""

    match_expressions: Annotated[list[SelectorRequirement], Field(max_length=50)] | None = None
    """Conditions on labels."""
    match_fields: Annotated[list[SelectorRequirement], Field(max_length=50)] | None = None
    """Conditions on fields, as metadata.name."""


class NodeTerms(Model):
    """Nodes that meet one of the terms."""

    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1, max_length=50)]
    """The terms."""


class PreferredNodeTerm(Model):
    """Nodes that are better than others."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """How much better."""
    preference: NodeTerm
    """Which."""


class NodeAffinity(Model):
    """Nodes, by their labels."""

    required_during_scheduling_ignored_during_execution: NodeTerms | None = None
    """No other nodes."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredNodeTerm], Field(max_length=50)] | None
    ) = None
    """Rather these nodes."""


class PodTerm(Model):
    """Nodes, or zones, where certain pods run."""

    topology_key: Key
    """The node label that makes a place: kubernetes.io/hostname, topology.kubernetes.io/zone."""
    label_selector: LabelSelector | None = None
    """Which pods."""
    namespaces: Annotated[list[Short], Field(max_length=50)] | None = None
    """In which namespaces; default the run's."""
    namespace_selector: LabelSelector | None = None
    """In namespaces with these labels."""
    match_label_keys: Annotated[list[Key], Field(max_length=20)] | None = None
    """Only pods that have the same value as this pod."""
    mismatch_label_keys: Annotated[list[Key], Field(max_length=20)] | None = None
    """Only pods that have another value than this pod."""


class PreferredPodTerm(Model):
    """Places that are better than others."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """How much better."""
    pod_affinity_term: PodTerm
    """Which."""


class PodAffinity(Model):
    """Places near, or away from, other pods."""

    required_during_scheduling_ignored_during_execution: Annotated[list[PodTerm], Field(max_length=50)] | None = None
    """No other places."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredPodTerm], Field(max_length=50)] | None
    ) = None
    """Rather these places."""


class Affinity(Model):
    """Where the pod should run."""

    node_affinity: NodeAffinity | None = None
    """On which nodes."""
    pod_affinity: PodAffinity | None = None
    """Near which pods."""
    pod_anti_affinity: PodAffinity | None = None
    """Away from which pods."""


class TopologySpread(Model):
    """How evenly pods are spread over nodes or zones."""

    max_skew: Annotated[int, Field(ge=1, le=1_000_000)]
    """How many more one place may have than another."""
    topology_key: Key
    """The node label that makes a place."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """What happens where it cannot be even."""
    label_selector: LabelSelector | None = None
    """Which pods are counted."""
    min_domains: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """At least so many places."""
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes that the pod may not use count."""
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes with taints count."""
    match_label_keys: Annotated[list[Key], Field(max_length=20)] | None = None
    """Only pods that have the same value as this pod."""


class Pod(Model):
    """What is asked of a task's pod, beyond what every pod has. An operator may forbid any of it."""

    resources: Resources | None = None
    """Requests and limits of the container, GPUs among them."""
    volumes: Annotated[list[Volume], Field(max_length=30)] | None = None
    """Volumes, beside the folder /tmp that every pod has."""
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=50)] | None = None
    """Where the volumes are seen."""
    node_selector: Annotated[dict[Key, Value], Field(max_length=20)] | None = None
    """Labels that the node must have. `${{ }}` is rendered in the values."""
    tolerations: Annotated[list[Toleration], Field(max_length=50)] | None = None
    """Taints that do not keep the pod from a node, in Kubernetes' own shape."""
    affinity: Affinity | None = None
    """Where the pod should run, in Kubernetes' own shape."""
    topology_spread_constraints: Annotated[list[TopologySpread], Field(max_length=20)] | None = None
    """How evenly pods are spread, in Kubernetes' own shape."""
    service_account_name: Name | None = None
    """The service account whose token the pod has; without it the pod has none."""
    image_pull_secrets: Annotated[list[SecretName], Field(max_length=20)] | None = None
    """Secrets for registries."""
    priority_class_name: Name | None = None
    """Name of the PriorityClass."""
    runtime_class_name: Name | None = None
    """Name of the RuntimeClass, for sandboxes and GPUs."""
    run_as_user: Id | None = None
    """User of the container. Default 65532; 0, root, only where the operator allows Baseline."""
    run_as_group: Id | None = None
    """Group of the container. Default 65532; 0 only where the operator allows Baseline."""
    fs_group: Id | None = None
    """Group that owns the volumes. Default 65532; 0 only where the operator allows Baseline."""
    labels: Annotated[dict[Key, Value], Field(max_length=50)] | None = None
    """Labels of the pod and of its Job, where Kueue reads them. `${{ }}` is rendered in the values."""
    annotations: (
        Annotated[dict[Key, Annotated[str, StringConstraints(max_length=16_384)]], Field(max_length=50)] | None
    ) = None
    """Annotations of the pod. `${{ }}` is rendered in the values."""


POD_FIELDS: tuple[str, ...] = tuple(field.alias or name for name, field in Pod.model_fields.items())
"""The fields of `pod` as manifests write them: what an operator can forbid."""
