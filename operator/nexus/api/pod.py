"""Settings that a task may make of its pod: an allow-list. No other field can be written, so no task weakens its
pod."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from nexus.api.base import Model

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)]
VolumeName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
# A prefix of 253, a slash and a name of 63 characters.
Key = Annotated[str, StringConstraints(min_length=1, max_length=317)]
# A string, since it may contain `${{ }}`: an invalid label value is found when the value is known.
Value = Annotated[str, StringConstraints(max_length=1_100)]
Quantity = int | Annotated[str, StringConstraints(max_length=1_100)]
Path = Annotated[str, StringConstraints(min_length=1, max_length=1_024)]
Mode = Annotated[int, Field(ge=0, le=0o777)]
Id = Annotated[int, Field(ge=0, le=2**31 - 1)]
Short = Annotated[str, StringConstraints(max_length=253)]


class Resources(Model):
    """Requests and limits of the container, by resource: cpu, memory, ephemeral-storage, nvidia.com/gpu."""

    requests: Annotated[dict[Key, Quantity], Field(max_length=20)] | None = None
    """Amounts that the scheduler reserves for the container. `${{ }}` is rendered."""
    limits: Annotated[dict[Key, Quantity], Field(max_length=20)] | None = None
    """Maximum amounts. A container that exceeds its memory limit ends OutOfMemory. `${{ }}` is rendered."""


class KeyToPath(Model):
    """One key of a Secret or ConfigMap as a file."""

    key: Short
    """Name of the key."""
    path: Path
    """Path of the file, relative to the mount."""
    mode: Mode | None = None
    """Permissions of the file. Default: defaultMode."""


class EmptyDir(Model):
    """An empty folder that lives as long as the pod."""

    medium: Literal["", "Memory", "HugePages"] | None = None
    """Storage medium. Memory: a tmpfs, which counts towards the memory limit. Default: the node's disk."""
    size_limit: Quantity | None = None
    """Maximum size. A pod that exceeds it is evicted. Default: no limit."""


class ConfigMapVolume(Model):
    """The keys of a ConfigMap as files."""

    name: Name
    """Name of the ConfigMap."""
    items: Annotated[list[KeyToPath], Field(max_length=100)] | None = None
    """Keys to include. Default: all."""
    default_mode: Mode | None = None
    """Permissions of the files. Default 0644."""
    optional: bool | None = None
    """Continue without it if it does not exist. Default false."""


class SecretVolume(Model):
    """The keys of a Secret as files."""

    secret_name: Name
    """Name of the Secret."""
    items: Annotated[list[KeyToPath], Field(max_length=100)] | None = None
    """Keys to include. Default: all."""
    default_mode: Mode | None = None
    """Permissions of the files. Default 0644."""
    optional: bool | None = None
    """Continue without it if it does not exist. Default false."""


class ClaimVolume(Model):
    """An existing PersistentVolumeClaim."""

    claim_name: Name
    """Name of the claim."""
    read_only: bool | None = None
    """Mount the volume read-only. Default false."""


class ProjectedSecret(Model):
    """A Secret within a projected volume."""

    name: Name
    """Name of the Secret."""
    items: Annotated[list[KeyToPath], Field(max_length=100)] | None = None
    """Keys to include. Default: all."""
    optional: bool | None = None
    """Continue without it if it does not exist. Default false."""


class Source(Model):
    """One source of a projected volume: exactly one of configMap and secret."""

    config_map: ProjectedSecret | None = None
    """ConfigMap whose keys become files."""
    secret: ProjectedSecret | None = None
    """Secret whose keys become files."""


class Projected(Model):
    """Several Secrets and ConfigMaps in one folder."""

    sources: Annotated[list[Source], Field(min_length=1, max_length=20)]
    """Sources of the files, at most 20."""
    default_mode: Mode | None = None
    """Permissions of the files. Default 0644."""


class SelectorRequirement(Model):
    """A condition on a label."""

    key: Key
    """Key of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """Comparison operator."""
    values: Annotated[list[Short], Field(max_length=100)] | None = None
    """Values to compare with; none for Exists and DoesNotExist."""


class LabelSelector(Model):
    """Selection of objects by their labels."""

    match_labels: Annotated[dict[Key, Short], Field(max_length=50)] | None = None
    """Labels and their required values."""
    match_expressions: Annotated[list[SelectorRequirement], Field(max_length=50)] | None = None
    """Conditions on labels; all must be met."""


class ClaimMetadata(Model):
    """Labels and annotations of a claim."""

    labels: Annotated[dict[Key, Short], Field(max_length=50)] | None = None
    """Labels of the claim."""
    annotations: Annotated[dict[Key, Value], Field(max_length=50)] | None = None
    """Annotations of the claim."""


class ClaimSpec(Model):
    """Spec of the claim that is created for the pod."""

    access_modes: Annotated[list[Short], Field(min_length=1, max_length=4)]
    """Access modes: ReadWriteOnce, ReadOnlyMany, ReadWriteMany or ReadWriteOncePod."""
    resources: Resources
    """Size of the volume, as requests.storage."""
    storage_class_name: Short | None = None
    """Name of the StorageClass. Default: the cluster's."""
    volume_mode: Literal["Filesystem"] | None = None
    """Mode of the volume: Filesystem."""
    selector: LabelSelector | None = None
    """Selection of volumes to bind to."""


class ClaimTemplate(Model):
    """A claim that lives as long as the pod."""

    metadata: ClaimMetadata | None = None
    """Labels and annotations of the claim."""
    spec: ClaimSpec
    """Spec of the claim."""


class Ephemeral(Model):
    """A volume that is created and deleted with the pod."""

    volume_claim_template: ClaimTemplate
    """Template of the claim."""


class SecretName(Model):
    """A Secret in the run's namespace."""

    name: Name
    """Name of the Secret."""


class Csi(Model):
    """A volume of a CSI driver for pods, such as one for secrets."""

    driver: Name
    """Name of the driver."""
    read_only: bool | None = None
    """Mount the volume read-only. Default false."""
    fs_type: Short | None = None
    """Filesystem type, if the driver requires it. Default: the driver's."""
    volume_attributes: Annotated[dict[Key, Value], Field(max_length=50)] | None = None
    """Attributes for the driver."""
    node_publish_secret_ref: SecretName | None = None
    """Secret for the driver."""


class Volume(Model):
    """A volume of the pod: exactly one source. There is no hostPath and no token of a service account."""

    name: VolumeName
    """Name of the volume, for volumeMounts; tmp and nexus are reserved."""
    empty_dir: EmptyDir | None = None
    """An empty folder that lives as long as the pod: medium, sizeLimit."""
    config_map: ConfigMapVolume | None = None
    """The keys of a ConfigMap as files: name, items, defaultMode, optional."""
    secret: SecretVolume | None = None
    """The keys of a Secret as files: secretName, items, defaultMode, optional."""
    persistent_volume_claim: ClaimVolume | None = None
    """An existing PersistentVolumeClaim: claimName, readOnly."""
    ephemeral: Ephemeral | None = None
    """A claim that is created and deleted with the pod: volumeClaimTemplate."""
    projected: Projected | None = None
    """Several Secrets and ConfigMaps in one folder: sources, defaultMode."""
    csi: Csi | None = None
    """A volume of a CSI driver for pods: driver, volumeAttributes, nodePublishSecretRef."""


VOLUME_SOURCES: dict[str, str] = {
    name: field.alias or name for name, field in Volume.model_fields.items() if name != "name"
}
"""The sources of a volume: the attribute, and the field as manifests write it."""


class VolumeMount(Model):
    """Mount of a volume in the container."""

    name: VolumeName
    """Name of the volume."""
    mount_path: Path
    """Absolute path in the container; /tmp and /nexus are reserved."""
    sub_path: Path | None = None
    """Folder of the volume to mount. Default: its root."""
    read_only: bool | None = None
    """Mount the volume read-only. Default false."""


class Toleration(Model):
    """A taint that the pod tolerates."""

    key: Annotated[str, StringConstraints(max_length=317)] | None = None
    """Key of the taint. Absent, with operator Exists: all keys."""
    operator: Literal["Exists", "Equal"] | None = None
    """Comparison operator: Equal (default) or Exists."""
    value: Short | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. Default: all effects."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Time for which a NoExecute taint is tolerated, in seconds. Default: no limit."""


class NodeTerm(Model):
    """Nodes that meet all conditions."""

    match_expressions: Annotated[list[SelectorRequirement], Field(max_length=50)] | None = None
    """Conditions on labels."""
    match_fields: Annotated[list[SelectorRequirement], Field(max_length=50)] | None = None
    """Conditions on fields, such as metadata.name."""


class NodeTerms(Model):
    """Nodes that meet at least one of the terms."""

    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1, max_length=50)]
    """Terms, of which at least one must be met."""


class PreferredNodeTerm(Model):
    """Preferred nodes."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """Weight of the preference, from 1 to 100."""
    preference: NodeTerm
    """Nodes that are preferred."""


class NodeAffinity(Model):
    """Selection of nodes by their labels."""

    required_during_scheduling_ignored_during_execution: NodeTerms | None = None
    """Nodes that are required."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredNodeTerm], Field(max_length=50)] | None
    ) = None
    """Nodes that are preferred."""


class PodTerm(Model):
    """Topology domains (nodes or zones) in which selected pods run."""

    topology_key: Key
    """Node label that defines a domain, such as kubernetes.io/hostname or topology.kubernetes.io/zone."""
    label_selector: LabelSelector | None = None
    """Selection of pods."""
    namespaces: Annotated[list[Short], Field(max_length=50)] | None = None
    """Namespaces of the pods. Default: the run's."""
    namespace_selector: LabelSelector | None = None
    """Selection of namespaces by their labels."""
    match_label_keys: Annotated[list[Key], Field(max_length=20)] | None = None
    """Label keys for which only pods with the same value as this pod are selected."""
    mismatch_label_keys: Annotated[list[Key], Field(max_length=20)] | None = None
    """Label keys for which only pods with a different value than this pod are selected."""


class PreferredPodTerm(Model):
    """Preferred topology domains."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """Weight of the preference, from 1 to 100."""
    pod_affinity_term: PodTerm
    """Domains that are preferred."""


class PodAffinity(Model):
    """Topology domains near, or away from, other pods."""

    required_during_scheduling_ignored_during_execution: Annotated[list[PodTerm], Field(max_length=50)] | None = None
    """Domains that are required."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredPodTerm], Field(max_length=50)] | None
    ) = None
    """Domains that are preferred."""


class Affinity(Model):
    """Rules for the node on which the pod runs."""

    node_affinity: NodeAffinity | None = None
    """Nodes on which the pod runs."""
    pod_affinity: PodAffinity | None = None
    """Pods near which the pod runs."""
    pod_anti_affinity: PodAffinity | None = None
    """Pods away from which the pod runs."""


class TopologySpread(Model):
    """Even spread of pods over topology domains (nodes or zones)."""

    max_skew: Annotated[int, Field(ge=1, le=1_000_000)]
    """Maximum difference of the number of pods between two domains."""
    topology_key: Key
    """Node label that defines a domain."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """Action if maxSkew cannot be met: DoNotSchedule or ScheduleAnyway."""
    label_selector: LabelSelector | None = None
    """Selection of the pods to count."""
    min_domains: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Minimum number of domains."""
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes that the pod may not use are ignored (Honor, default) or counted (Ignore)."""
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes with taints that the pod does not tolerate are ignored (Honor) or counted (Ignore, default)."""
    match_label_keys: Annotated[list[Key], Field(max_length=20)] | None = None
    """Label keys for which only pods with the same value as this pod are counted."""


class Pod(Model):
    """Settings of a task's pod, in addition to what every pod has. An operator may forbid any of them."""

    resources: Resources | None = None
    """Requests and limits of the container, GPUs included."""
    volumes: Annotated[list[Volume], Field(max_length=30)] | None = None
    """Volumes, in addition to the folder /tmp that every pod has."""
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=50)] | None = None
    """Mounts of the volumes in the container."""
    node_selector: Annotated[dict[Key, Value], Field(max_length=20)] | None = None
    """Labels that the node must have. `${{ }}` is rendered in the values."""
    tolerations: Annotated[list[Toleration], Field(max_length=50)] | None = None
    """Taints that the pod tolerates, in Kubernetes' own format."""
    affinity: Affinity | None = None
    """Rules for the node on which the pod runs, in Kubernetes' own format."""
    topology_spread_constraints: Annotated[list[TopologySpread], Field(max_length=20)] | None = None
    """Even spread of pods over nodes or zones, in Kubernetes' own format."""
    service_account_name: Name | None = None
    """Name of the service account whose token the pod receives. Default: no token."""
    image_pull_secrets: Annotated[list[SecretName], Field(max_length=20)] | None = None
    """Secrets for pulling images."""
    priority_class_name: Name | None = None
    """Name of the PriorityClass."""
    runtime_class_name: Name | None = None
    """Name of the RuntimeClass, for sandboxes and GPUs."""
    run_as_user: Id | None = None
    """User ID of the container. Default 65532; 0 (root) is allowed only if the operator allows Baseline."""
    run_as_group: Id | None = None
    """Group ID of the container. Default 65532; 0 is allowed only if the operator allows Baseline."""
    fs_group: Id | None = None
    """Group ID that owns the volumes. Default 65532; 0 is allowed only if the operator allows Baseline."""
    labels: Annotated[dict[Key, Value], Field(max_length=50)] | None = None
    """Labels of the pod and of its Job (Kueue reads those of the Job). `${{ }}` is rendered in the values."""
    annotations: (
        Annotated[dict[Key, Annotated[str, StringConstraints(max_length=16_384)]], Field(max_length=50)] | None
    ) = None
    """Annotations of the pod. `${{ }}` is rendered in the values."""


POD_FIELDS: tuple[str, ...] = tuple(field.alias or name for name, field in Pod.model_fields.items())
"""The fields of `pod` as manifests write them; an operator can forbid each of them."""
