{{/* Name of every object of the release, and prefix of those that there are several of. */}}
{{- define "outrigger.name" -}}
{{- if contains "outrigger" .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-outrigger" .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* Labels that select the operator's pods; they never change. */}}
{{- define "outrigger.selectorLabels" -}}
app.kubernetes.io/name: outrigger
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "outrigger.labels" -}}
{{ include "outrigger.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels of what runs before the release is uninstalled; the operator's selectors do not match them. */}}
{{- define "outrigger.releaseLabels" -}}
app.kubernetes.io/name: outrigger-release
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "outrigger.image" -}}
{{- if .Values.image.digest -}}
{{ printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{/* The operator as the API server names it in requests. */}}
{{- define "outrigger.username" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "outrigger.name" . }}
{{- end }}
