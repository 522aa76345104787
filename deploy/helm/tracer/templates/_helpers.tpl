{{- define "tracer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "tracer.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "tracer.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tracer.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tracer.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tracer.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* `kubectl tracer` finds the pods by the first and the third of these. */}}
{{- define "tracer.selectorLabels" -}}
app.kubernetes.io/name: tracer
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: recorder
{{- end -}}

{{- define "tracer.labels" -}}
{{ include "tracer.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "tracer.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* An argument as it is: Kubernetes makes one `$` of two, and a value of `$(NAME)`. */}}
{{- define "tracer.argument" -}}
{{- replace "$" "$$" . | quote -}}
{{- end -}}

{{/* What is recorded: one option for each pattern. */}}
{{- define "tracer.record" -}}
{{- if eq .what "containers" }}
- --containers
{{- else if eq .what "all" }}
- --all
{{- else }}
{{- $option := ternary "--cgroup" "--unit" (eq .what "cgroups") }}
{{- range .patterns }}
- {{ printf "%s=%s" $option . | include "tracer.argument" }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The port of the collector: 4318 if its address has none. */}}
{{- define "tracer.otlpPort" -}}
{{- $host := get (urlParse .Values.otlp.endpoint) "host" -}}
{{- $usual := ternary ":443" ":4318" (hasPrefix "https:" .Values.otlp.endpoint) -}}
{{- default $usual (regexFind ":[0-9]+$" $host) | trimPrefix ":" -}}
{{- end -}}
