{{- /* The operator's configuration: each variable is a flag of `rancheros-operator run`. */}}
{{- define "rancheros-operator.environment" -}}
{{- $listener := .Values.registration.listener }}
{{- $values := list
  (list "SECRET_NAMESPACES" (join "," .Values.secretNamespaces))
  (list "LEASE_DURATION" .Values.leaderElection.leaseDuration)
  (list "RENEW_DEADLINE" .Values.leaderElection.renewDeadline)
  (list "RETRY_PERIOD" .Values.leaderElection.retryPeriod)
  (list "LOG_LEVEL" .Values.logLevel)
  (list "LOG_FORMAT" .Values.logFormat)
  (list "WORKERS" (int .Values.workers))
  (list "QPS" (int .Values.apiClient.qps))
  (list "BURST" (int .Values.apiClient.burst))
  (list "MAX_IN_FLIGHT" (int .Values.registration.maxInFlight))
  (list "HEALTH_ADDR" ":8081")
  (list "METRICS_ADDR" (printf ":%d" (int .Values.monitoring.port))) }}
{{- if .Values.registration.tunnel.enabled }}
{{- $values = concat $values (list (list "TUNNEL_SECRET_NAMESPACE" .Release.Namespace) (list "TUNNEL_SECRET_NAME" "rancheros-operator-tunnel")) }}
{{- end }}
{{- if $listener.enabled }}
{{- $values = append $values (list "LISTEN_ADDR" (printf ":%d" (int $listener.port))) }}
{{- if $listener.tlsSecretName }}
{{- $values = concat $values (list (list "TLS_CERT_FILE" "/etc/rancheros/tls/tls.crt") (list "TLS_KEY_FILE" "/etc/rancheros/tls/tls.key")) }}
{{- end }}
{{- end }}
{{- with .Values.channels.allowedNetworks }}
{{- $values = append $values (list "CHANNEL_NETWORKS" (join "," .)) }}
{{- end }}
{{- if .Values.media.enabled }}
{{- $values = concat $values (list (list "MEDIA_DIR" "/var/lib/rancheros/media") (list "MEDIA_CACHE_GIB" (int .Values.media.cacheGiB)) (list "MEDIA_MAX_BASE_GIB" (int .Values.media.maxBaseGiB))) }}
{{- if .Values.media.folderClaim }}
{{- $values = append $values (list "MEDIA_FOLDER" "/media") }}
{{- end }}
{{- end }}
{{- with .Values.proxy }}
{{- $values = concat $values (list (list "HTTP_PROXY" .) (list "HTTPS_PROXY" .)) }}
{{- end }}
{{- if or .Values.proxy .Values.proxySecret }}
{{- $values = append $values (list "NO_PROXY" (include "rancheros-operator.noProxy" .)) }}
{{- end }}
{{- /* Garbage is collected less often while there is room, and threads are woken less often. */}}
{{- $values = concat $values (list (list "GOGC" "400") (list "TIMER_SLACK" "10ms")) }}
{{- with (((.Values.resources).limits).memory) }}
{{- $values = append $values (list "GOMEMLIMIT" (printf "%d" (div (mul (include "rancheros-operator.bytes" . | int64) 3) 4))) }}
{{- end -}}
- name: NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- range $values }}
- {name: {{ index . 0 }}, value: {{ index . 1 | toString | quote }}}
{{- end }}
{{- range .Values.extraEnv }}
- {name: {{ .name | quote }}, value: {{ .value | quote }}}
{{- end }}
{{- end }}

{{- define "rancheros-operator.mounts" -}}
{{- if .Values.registration.listener.tlsSecretName }}
- {name: tls, mountPath: /etc/rancheros/tls, readOnly: true}
{{- end }}
{{- if .Values.media.enabled }}
- {name: media, mountPath: /var/lib/rancheros/media}
{{- if .Values.media.folderClaim }}
- {name: media-folder, mountPath: /media, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{- define "rancheros-operator.volumes" -}}
{{- with .Values.registration.listener.tlsSecretName }}
- name: tls
  secret: {secretName: {{ . | quote }}}
{{- end }}
{{- if .Values.media.enabled }}
{{- if eq .Values.media.volume.kind "claim" }}
- name: media
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .Values.media.volume.storageClassName }}
        storageClassName: {{ . | quote }}
        {{- end }}
        resources: {requests: {storage: {{ .Values.media.volume.size | quote }}}}
{{- else }}
- name: media
  emptyDir: {sizeLimit: {{ .Values.media.volume.size | quote }}}
{{- end }}
{{- with .Values.media.folderClaim }}
- name: media-folder
  persistentVolumeClaim: {claimName: {{ . | quote }}, readOnly: true}
{{- end }}
{{- end }}
{{- end }}
