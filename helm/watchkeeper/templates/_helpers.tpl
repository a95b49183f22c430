{{- define "watchkeeper.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "watchkeeper.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "watchkeeper.labels" -}}
{{ include "watchkeeper.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "watchkeeper.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "watchkeeper.fullname" .) -}}
{{- end -}}

{{- define "watchkeeper.claim" -}}
{{- .Values.persistence.existingClaim | default (include "watchkeeper.fullname" .) -}}
{{- end -}}

{{- define "watchkeeper.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* Roles lie in other namespaces, and ClusterRoles in none: two releases must not share a name. */ -}}
{{- define "watchkeeper.roleName" -}}
{{- printf "%s-%s" .Release.Namespace (include "watchkeeper.fullname" .) -}}
{{- end -}}

{{- /* The settings: those of the values, and over them what the chart decides. */ -}}
{{- define "watchkeeper.settings" -}}
{{- $settings := deepCopy .Values.config -}}
{{- $_ := set $settings "data_dir" "/var/lib/watchkeeper" -}}
{{- $_ := set $settings "api" (dict "host" "0.0.0.0" "port" 8720) -}}
{{- if .Values.actIn.namespaces -}}
{{- $here := dict "name" .Values.actIn.cluster "in_cluster" true "namespaces" .Values.actIn.namespaces "nodes" .Values.actIn.nodes -}}
{{- $targets := $settings.targets | default dict -}}
{{- $_ := set $targets "kubernetes" (prepend ($targets.kubernetes | default list) $here) -}}
{{- $_ := set $settings "targets" $targets -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{- /* What cannot be meant. */ -}}
{{- define "watchkeeper.check" -}}
{{- if has .Release.Namespace .Values.actIn.namespaces -}}
{{- fail (printf "actIn.namespaces names %s, where this release is: Watchkeeper does not act on itself. Install it in a namespace of its own." .Release.Namespace) -}}
{{- end -}}
{{- if and .Values.actIn.nodes (not .Values.actIn.namespaces) -}}
{{- fail "actIn.nodes without actIn.namespaces: a node is drained pod by pod. Name the namespaces whose pods may be evicted." -}}
{{- end -}}
{{- end -}}

{{- /* Rules of RBAC for the chosen intents, from the generated file; `scope` is namespaces or nodes. */ -}}
{{- define "watchkeeper.rules" -}}
{{- $permissions := .root.Files.Get "files/permissions.yaml" | fromYaml -}}
{{- $scope := .scope -}}
{{- $verbs := dict -}}
{{- range $intent := .root.Values.actIn.intents | default (keys $permissions) -}}
{{- range get (get $permissions $intent) $scope | default list -}}
{{- $what := printf "%s %s" .group .resource -}}
{{- $_ := set $verbs $what (concat (get $verbs $what | default list) .verbs | uniq | sortAlpha) -}}
{{- end -}}
{{- end -}}
{{- $together := dict -}}
{{- range $what := keys $verbs | sortAlpha -}}
{{- $parts := splitList " " $what -}}
{{- $rule := printf "%s %s" (first $parts) (get $verbs $what | join ",") -}}
{{- $_ := set $together $rule (append (get $together $rule | default list) (last $parts)) -}}
{{- end -}}
{{- range $rule := keys $together | sortAlpha }}
{{- $parts := splitList " " $rule }}
- apiGroups: [{{ first $parts | quote }}]
  resources: {{ get $together $rule | toJson }}
  verbs: {{ last $parts | splitList "," | toJson }}
{{- end -}}
{{- end -}}
