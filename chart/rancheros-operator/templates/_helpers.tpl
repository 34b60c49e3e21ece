{{- /* There is one operator in a cluster: its APIService and its roles have one name, whatever the release is called. */}}
{{- define "rancheros-operator.name" -}}
rancheros-operator
{{- end }}

{{- /* Selectors cannot be changed by an upgrade: nothing in these labels comes from values. */}}
{{- define "rancheros-operator.selector" -}}
app.kubernetes.io/name: rancheros-operator
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "rancheros-operator.labels" -}}
app.kubernetes.io/name: rancheros-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/part-of: rancheros
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{- define "rancheros-operator.serviceAccountName" -}}
{{ (.Values.serviceAccount).name | default "rancheros-operator" }}
{{- end }}

{{- /* An image that names a registry of its own is left where it is. */}}
{{- define "rancheros-operator.image" -}}
{{- $image := .Values.image }}
{{- $registry := "" }}
{{- $first := splitList "/" $image.repository | first }}
{{- if not (and (contains "/" $image.repository) (or (contains "." $first) (contains ":" $first) (eq $first "localhost"))) }}
{{- $registry = ((.Values.global).cattle).systemDefaultRegistry | default "" | trimSuffix "/" }}
{{- end }}
{{- if $registry }}{{ $registry }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* The rules of one document of files/cluster-role.yaml, with the reason that stands beside each. */}}
{{- define "rancheros-operator.rules" -}}
{{- $documents := splitList "\n---\n" (.root.Files.Get "files/cluster-role.yaml") }}
{{- index $documents .document | splitList "\nrules:\n" | last | trimSuffix "\n" }}
{{- end }}

{{- define "rancheros-operator.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ .name | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Bytes of a quantity of memory such as 640Mi. */}}
{{- define "rancheros-operator.bytes" -}}
{{- $quantity := toString . }}
{{- $unit := regexFind "[A-Za-z]*$" $quantity }}
{{- $factors := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- mulf (trimSuffix $unit $quantity | float64) (get $factors $unit) | floor | int64 }}
{{- end }}

{{- /* Thousandths of a core of a quantity such as 100m or 0.5. */}}
{{- define "rancheros-operator.millicores" -}}
{{- $quantity := toString . }}
{{- if hasSuffix "m" $quantity }}{{ trimSuffix "m" $quantity | int64 }}{{ else }}{{ mulf ($quantity | float64) 1000 | floor | int64 }}{{ end }}
{{- end }}

{{- /* Milliseconds of a duration such as 1m30s. */}}
{{- define "rancheros-operator.milliseconds" -}}
{{- $sum := 0.0 }}
{{- $factors := dict "h" 3600000.0 "m" 60000.0 "s" 1000.0 "ms" 1.0 }}
{{- range regexFindAll "[0-9.]+(ms|h|m|s)" (toString .) -1 }}
{{- $unit := regexFind "[a-z]+$" . }}
{{- $sum = addf $sum (mulf (trimSuffix $unit . | float64) (get $factors $unit)) }}
{{- end }}
{{- $sum | int64 }}
{{- end }}

{{- /* The API server is never behind a proxy: Kubernetes puts its address in place of the variable. */}}
{{- define "rancheros-operator.noProxy" -}}
{{- $hosts := list }}
{{- if kindIs "slice" .Values.noProxy }}{{ $hosts = .Values.noProxy }}{{ else if .Values.noProxy }}{{ $hosts = splitList "," .Values.noProxy }}{{ end }}
{{- $all := list }}
{{- range concat $hosts (list ".svc" ".cluster.local" "$(KUBERNETES_SERVICE_HOST)") }}{{ $all = append $all (trim .) }}{{ end }}
{{- $all | uniq | compact | join "," }}
{{- end }}

{{- define "rancheros-operator.servesAllNamespaces" -}}
{{- if has "*" .Values.secretNamespaces }}yes{{ end }}
{{- end }}
