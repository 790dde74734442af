{{/* Name of the chart's objects. */}}
{{- define "nexus.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The same for what belongs to no namespace: two releases of one name, in two namespaces, do not meet. */}}
{{- define "nexus.clusterName" -}}
{{- $name := include "nexus.fullname" . -}}
{{- if eq $name .Release.Namespace -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Namespace $name | trunc 100 -}}
{{- end -}}
{{- end -}}

{{- define "nexus.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "nexus.labels" -}}
{{ include "nexus.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "nexus.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "nexus.fullname" .) -}}
{{- end -}}

{{/* The image by its digest where there is one, else by its tag. */}}
{{- define "nexus.image" -}}
{{- $image := .Values.image -}}
{{- $name := ternary $image.repository (printf "%s/%s" $image.registry $image.repository) (empty $image.registry) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The operator's account as the API server knows it. */}}
{{- define "nexus.username" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "nexus.serviceAccountName" .) -}}
{{- end -}}

{{/* What cannot be meant, said before anything is installed. */}}
{{- define "nexus.check" -}}
{{- if and (not .Values.clusterObjects) (not .Values.namespaces) -}}
{{- fail "clusterObjects=false installs nothing that belongs to no namespace, so it needs the namespaces to work in: --set 'namespaces={NAME}'" -}}
{{- end -}}
{{- end -}}
