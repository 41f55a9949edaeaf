{{- define "inference-service.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "inference-service.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "inference-service.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "inference-service.selector" -}}
app.kubernetes.io/name: {{ include "inference-service.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "inference-service.labels" -}}
{{ include "inference-service.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* What the model's volume is; nothing for the embedded model. */}}
{{- define "inference-service.modelVolume" -}}
{{- if eq .Values.model.source "claim" -}}
persistentVolumeClaim:
  claimName: {{ required "model.claim.name is needed for model.source claim" .Values.model.claim.name }}
  readOnly: true
{{- else if eq .Values.model.source "image" -}}
image:
  reference: {{ required "model.image.reference is needed for model.source image" .Values.model.image.reference | quote }}
  pullPolicy: {{ .Values.model.image.pullPolicy }}
{{- else if and (eq .Values.model.source "download") .Values.model.download.claim -}}
persistentVolumeClaim:
  claimName: {{ .Values.model.download.claim }}
{{- else if eq .Values.model.source "download" -}}
emptyDir:
  sizeLimit: {{ .Values.model.download.sizeLimit }}
{{- else if eq .Values.model.source "init" -}}
emptyDir:
  sizeLimit: {{ .Values.model.init.sizeLimit }}
{{- end -}}
{{- end -}}

{{/* The model to download, as --model takes it. */}}
{{- define "inference-service.downloadId" -}}
{{- printf "%s@%s" (required "model.download.id is needed for model.source download" .Values.model.download.id) .Values.model.download.revision -}}
{{- end -}}

{{/* Labels by which Prometheus knows the pods' series once a ServiceMonitor reads them. */}}
{{- define "inference-service.seriesOf" -}}
{{- printf "namespace=\"%s\",service=\"%s\"" .Release.Namespace (include "inference-service.fullname" .) -}}
{{- end -}}
