{{- /*
What values.schema.json cannot say: that two values do not fit, what the way out is, and what the cluster lacks. Every problem
is reported, not the first alone.
*/}}
{{- define "rancheros-operator.validate" -}}
{{- $problems := concat
  (include "rancheros-operator.validate.image" . | fromJsonArray)
  (include "rancheros-operator.validate.times" . | fromJsonArray)
  (include "rancheros-operator.validate.resources" . | fromJsonArray)
  (include "rancheros-operator.validate.process" . | fromJsonArray)
  (include "rancheros-operator.validate.registration" . | fromJsonArray)
  (include "rancheros-operator.validate.cluster" . | fromJsonArray) }}
{{- if $problems }}
{{- fail (printf "\n\nthe values do not fit:\n  - %s\n" (join "\n  - " $problems)) }}
{{- end }}
{{- end }}

{{- define "rancheros-operator.validate.image" -}}
{{- $problems := list }}
{{- if not (kindIs "string" (.Values.image.tag | default "")) }}
{{- $problems = append $problems (printf "image.tag is a number, %v, and YAML may have taken digits off it: quote it, as in tag: \"1.10\"" .Values.image.tag) }}
{{- end }}
{{- range $i, $secret := .Values.imagePullSecrets }}
{{- if kindIs "string" $secret }}
{{- $problems = append $problems (printf "imagePullSecrets[%d] is the text %q: write it as an object, {name: %s}" $i $secret $secret) }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{- define "rancheros-operator.validate.times" -}}
{{- $problems := list }}
{{- $election := .Values.leaderElection }}
{{- $lease := include "rancheros-operator.milliseconds" $election.leaseDuration | int64 }}
{{- $renew := include "rancheros-operator.milliseconds" $election.renewDeadline | int64 }}
{{- $retry := include "rancheros-operator.milliseconds" $election.retryPeriod | int64 }}
{{- if not (and (gt $lease $renew) (gt $renew $retry) (ge $retry 1000) (le $lease 300000)) }}
{{- $problems = append $problems (printf "leaderElection: leaseDuration > renewDeadline > retryPeriod >= 1s must hold, and leaseDuration be at most 5m, not %s, %s, %s" $election.leaseDuration $election.renewDeadline $election.retryPeriod) }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{- define "rancheros-operator.validate.resources" -}}
{{- $problems := list }}
{{- range $name, $resources := dict "resources" .Values.resources "netboot.resources" (.Values.netboot).resources }}
{{- $request := (($resources).requests) | default dict }}
{{- $limit := (($resources).limits) | default dict }}
{{- if and $request.memory $limit.memory (gt (include "rancheros-operator.bytes" $request.memory | int64) (include "rancheros-operator.bytes" $limit.memory | int64)) }}
{{- $problems = append $problems (printf "%s.limits.memory, %v, must not be less than %s.requests.memory, %v" $name $limit.memory $name $request.memory) }}
{{- end }}
{{- if and $request.cpu $limit.cpu (gt (include "rancheros-operator.millicores" $request.cpu | int64) (include "rancheros-operator.millicores" $limit.cpu | int64)) }}
{{- $problems = append $problems (printf "%s.limits.cpu, %v, must not be less than %s.requests.cpu, %v" $name $limit.cpu $name $request.cpu) }}
{{- end }}
{{- end }}
{{- $budget := .Values.podDisruptionBudget }}
{{- if and $budget.enabled (not (kindIs "invalid" $budget.minAvailable)) }}
{{- if ge (int $budget.minAvailable) (int .Values.replicas) }}
{{- $problems = append $problems (printf "podDisruptionBudget.minAvailable, %d, must be less than replicas, %d: no node could be drained otherwise" (int $budget.minAvailable) (int .Values.replicas)) }}
{{- end }}
{{- end }}
{{- if and .Values.apiClient (lt (int .Values.apiClient.burst) (int .Values.apiClient.qps)) }}
{{- $problems = append $problems (printf "apiClient.burst, %d, must not be less than apiClient.qps, %d" (int .Values.apiClient.burst) (int .Values.apiClient.qps)) }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{- define "rancheros-operator.validate.process" -}}
{{- $problems := list }}
{{- $ours := list "KUBECONFIG" "NAMESPACE" "SECRET_NAMESPACES" "TUNNEL_SECRET_NAMESPACE" "TUNNEL_SECRET_NAME" "LISTEN_ADDR" "TLS_CERT_FILE" "TLS_KEY_FILE"
  "HEALTH_ADDR" "METRICS_ADDR" "LEADER_ELECT" "LEASE_DURATION" "RENEW_DEADLINE" "RETRY_PERIOD" "LOG_LEVEL" "LOG_FORMAT" "WORKERS" "QPS" "BURST" "MAX_IN_FLIGHT"
  "CHANNEL_NETWORKS" "MEDIA_DIR" "MEDIA_FOLDER" "MEDIA_CACHE_GIB" "MEDIA_MAX_BASE_GIB" "HTTP_PROXY" "HTTPS_PROXY" "NO_PROXY" "GOMEMLIMIT" "GOGC" "TIMER_SLACK" "POD_NAME" }}
{{- $seen := dict }}
{{- range $i, $variable := .Values.extraEnv }}
{{- if hasPrefix "CATTLE_" $variable.name }}
{{- $problems = append $problems (printf "extraEnv[%d].name: %s is a switch for developers, and in one case makes leases last 45 hours: remove it" $i $variable.name) }}
{{- else if has $variable.name $ours }}
{{- $problems = append $problems (printf "extraEnv[%d].name: %s is set by this chart: use the value that it has for it" $i $variable.name) }}
{{- else if hasKey $seen $variable.name }}
{{- $problems = append $problems (printf "extraEnv[%d].name: %s is there twice: remove one" $i $variable.name) }}
{{- end }}
{{- $_ := set $seen $variable.name true }}
{{- end }}
{{- range $i, $argument := .Values.extraArgs }}
{{- $flag := regexReplaceAll "^--?([a-z-]+).*$" $argument "${1}" }}
{{- if eq $flag "leader-elect" }}
{{- $problems = append $problems (printf "extraArgs[%d]: %s would let two replicas work against each other, and during an upgrade there are always two: remove it" $i $argument) }}
{{- else if has ($flag | upper | replace "-" "_") $ours }}
{{- $problems = append $problems (printf "extraArgs[%d]: --%s is set by this chart: use the value that it has for it" $i $flag) }}
{{- end }}
{{- end }}
{{- if and .Values.proxy .Values.proxySecret }}
{{- $problems = append $problems "proxy and proxySecret exclude each other: remove one" }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{- define "rancheros-operator.validate.registration" -}}
{{- $problems := list }}
{{- $listener := .Values.registration.listener }}
{{- if not (or .Values.registration.tunnel.enabled $listener.enabled) }}
{{- $problems = append $problems "registration: no machine could reach the operator: enable registration.tunnel or registration.listener" }}
{{- end }}
{{- if and $listener.ingress.enabled (not $listener.enabled) }}
{{- $problems = append $problems "registration.listener.ingress leads to the listener: set registration.listener.enabled" }}
{{- end }}
{{- if and $listener.ingress.enabled (not $listener.ingress.host) }}
{{- $problems = append $problems "registration.listener.ingress.host must name the host that machines ask for" }}
{{- end }}
{{- if and $listener.enabled (has (int $listener.port) (list 8081 (int .Values.monitoring.port))) }}
{{- $problems = append $problems (printf "registration.listener.port, %d, is that of probes or metrics: choose another" (int $listener.port)) }}
{{- end }}
{{- if and (has "*" .Values.secretNamespaces) (gt (len .Values.secretNamespaces) 1) }}
{{- $problems = append $problems "secretNamespaces: \"*\" is all namespaces: remove the others, or it" }}
{{- end }}
{{- $media := .Values.media }}
{{- if and $media.enabled (gt (int $media.maxBaseGiB) (int $media.cacheGiB)) }}
{{- $problems = append $problems (printf "media.maxBaseGiB, %d, must not be more than media.cacheGiB, %d" (int $media.maxBaseGiB) (int $media.cacheGiB)) }}
{{- end }}
{{- if and $media.enabled (lt (include "rancheros-operator.bytes" $media.volume.size | int64) (mul (int64 $media.cacheGiB) 1073741824)) }}
{{- $problems = append $problems (printf "media.volume.size, %s, must not be less than media.cacheGiB, %d" $media.volume.size (int $media.cacheGiB)) }}
{{- end }}
{{- $netboot := .Values.netboot }}
{{- if and $netboot.enabled (not $netboot.config) (not $netboot.configSecret) }}
{{- $problems = append $problems "netboot.config must say which machines boot into which registration; or netboot.configSecret name the Secret that does" }}
{{- else if and $netboot.configSecret (or $netboot.config $netboot.ca) }}
{{- $problems = append $problems "netboot.configSecret is instead of netboot.config and netboot.ca: remove one" }}
{{- end }}
{{- if and $media.folderClaim (not $media.enabled) }}
{{- $problems = append $problems "media.folderClaim is for boot media: set media.enabled" }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{- /* A cluster is asked only where there is one: `helm template` sees none. */}}
{{- define "rancheros-operator.validate.cluster" -}}
{{- $problems := list }}
{{- if lookup "v1" "Namespace" "" "kube-system" }}
{{- $name := include "rancheros-operator.name" . }}
{{- $kind := "apiextensions.k8s.io/v1" }}
{{- if not (lookup $kind "CustomResourceDefinition" "" "machineregistrations.rancheros.cattle.io") }}
{{- $problems = append $problems "the kinds of rancheros.cattle.io are not there: install the chart rancheros-operator-crd first" }}
{{- end }}
{{- if not (lookup $kind "CustomResourceDefinition" "" "settings.management.cattle.io") }}
{{- $problems = append $problems "the kinds of management.cattle.io/v3 are not there: install Rancher in this cluster first" }}
{{- else if .Values.registration.tunnel.enabled }}
{{- $service := lookup "management.cattle.io/v3" "APIService" "" $name }}
{{- $owner := index ((($service).metadata).annotations | default dict) "meta.helm.sh/release-name" }}
{{- $home := index ((($service).metadata).annotations | default dict) "meta.helm.sh/release-namespace" }}
{{- if and $service $owner (or (ne $owner .Release.Name) (ne $home .Release.Namespace)) }}
{{- $problems = append $problems (printf "the operator is installed already, as release %s in namespace %s: there is one in a cluster; upgrade or uninstall that one" $owner $home) }}
{{- end }}
{{- end }}
{{- range without .Values.secretNamespaces "*" }}
{{- if and $.Values.rbac.create (not (lookup "v1" "Namespace" "" .)) }}
{{- $problems = append $problems (printf "secretNamespaces: there is no namespace %s: create it, or remove it from the list" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}
