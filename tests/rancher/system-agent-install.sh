#!/bin/sh
# A pretend system-agent-install.sh. It takes what Rancher's takes, insists on what Rancher's insists on, proves to the
# server that the machine may join, and stops there: nothing is installed, and nothing is written outside the folders
# that CATTLE_AGENT_CONFIG_DIR and CATTLE_AGENT_VAR_DIR name, if they do.
#
# Rancher's script tries for ever when the server refuses it. This one says why, once, and fails: a test wants to know.

info() {
    echo "[INFO]  $*"
}

fatal() {
    echo "[FATAL]  $*" >&2
    exit 1
}

append() {
    if [ -n "$1" ]; then echo "$1,$2"; else echo "$2"; fi
}

parse_args() {
    while [ $# -gt 0 ]; do
        case "$1" in
        -a | --all-roles)
            CATTLE_ROLE_ETCD=true CATTLE_ROLE_CONTROLPLANE=true CATTLE_ROLE_WORKER=true
            shift
            continue
            ;;
        -e | --etcd) CATTLE_ROLE_ETCD=true && shift && continue ;;
        -p | --controlplane) CATTLE_ROLE_CONTROLPLANE=true && shift && continue ;;
        -w | --worker) CATTLE_ROLE_WORKER=true && shift && continue ;;
        --no-roles) CATTLE_ROLE_NONE=true && shift && continue ;;
        esac

        [ $# -gt 1 ] || fatal "Argument $1 is unknown or lacks its value"
        case "$1" in
        -s | --server) CATTLE_SERVER=$2 ;;
        -t | --token) CATTLE_TOKEN=$2 ;;
        -c | --ca-checksum) CATTLE_CA_CHECKSUM=$2 ;;
        -n | --node-name) CATTLE_NODE_NAME=$2 ;;
        --address) CATTLE_ADDRESS=$2 ;;
        -i | --internal-address) CATTLE_INTERNAL_ADDRESS=$2 ;;
        -l | --label) CATTLE_LABELS=$(append "$CATTLE_LABELS" "$2") && info "Label: $2" ;;
        --taint | --taints) CATTLE_TAINTS=$(append "$CATTLE_TAINTS" "$2") && info "Taint: $2" ;;
        *) fatal "Unknown argument passed in ($1)" ;;
        esac
        shift 2
    done
}

check_args() {
    if [ "$CATTLE_ROLE_NONE" = true ]; then
        CATTLE_ROLE_ETCD=false CATTLE_ROLE_CONTROLPLANE=false CATTLE_ROLE_WORKER=false
    elif [ "$CATTLE_ROLE_ETCD" != true ] && [ "$CATTLE_ROLE_CONTROLPLANE" != true ] && [ "$CATTLE_ROLE_WORKER" != true ]; then
        NO_ROLE=yes
    fi
    [ -n "$CATTLE_TOKEN" ] || fatal "\$CATTLE_TOKEN was not set."
    [ -n "$CATTLE_SERVER" ] || fatal "\$CATTLE_SERVER was not set"
    [ -z "$NO_ROLE" ] || fatal "You must select at least one role."
    command -v curl >/dev/null || fatal "can not find curl for downloading files"
}

# check_ca trusts the CA that the server shows if its checksum is the one given. Without a checksum the server's
# certificate must be one that the system trusts; with one that it trusts anyway, the checksum does not matter.
check_ca() {
    [ -n "$CATTLE_CA_CHECKSUM" ] || return
    if curl -sf --connect-timeout 10 --max-time 60 -o /dev/null "$CATTLE_SERVER/healthz"; then
        info "Determined CA is not necessary to connect to Rancher"
        return
    fi
    CA=$WORK/cacerts
    curl -sSf --connect-timeout 10 --max-time 60 --insecure -o "$CA" "$CATTLE_SERVER/cacerts" ||
        fatal "Could not download the CA from $CATTLE_SERVER/cacerts"
    grep -q "BEGIN CERTIFICATE" "$CA" ||
        fatal "Value from $CATTLE_SERVER/cacerts does not look like an x509 certificate"
    FOUND=$(sha256sum "$CA" | cut -d' ' -f1)
    [ "$FOUND" = "$CATTLE_CA_CHECKSUM" ] ||
        fatal "Configured cacerts checksum ($FOUND) does not match given --ca-checksum ($CATTLE_CA_CHECKSUM)"
}

check_connection() {
    [ "$(fetch /dev/null "$CATTLE_SERVER/healthz")" = 200 ] ||
        fatal "Error connecting to Rancher. Perhaps --ca-checksum needs to be set?"
}

# fetch OUTPUT URL [CURL ARGUMENT...] prints the HTTP status.
fetch() {
    OUTPUT=$1 URL=$2
    shift 2
    if [ -n "$CA" ]; then set -- --cacert "$CA" "$@"; fi
    curl -sS --connect-timeout 10 --max-time 60 -w '%{http_code}' -o "$OUTPUT" "$@" "$URL"
}

identify() {
    [ -z "$CATTLE_ID" ] || return
    KEPT=${CATTLE_AGENT_CONFIG_DIR:-$WORK}/cattle-id
    if [ ! -s "$KEPT" ]; then
        mkdir -p "$(dirname "$KEPT")"
        head -c 512 /dev/urandom | sha256sum | cut -c1-63 >"$KEPT"
    fi
    CATTLE_ID=$(cat "$KEPT")
}

connect() {
    ANSWER=${CATTLE_AGENT_VAR_DIR:-$WORK}/rancher2_connection_info.json
    mkdir -p "$(dirname "$ANSWER")"
    STATUS=$(fetch "$ANSWER" "$CATTLE_SERVER/v3/connect/agent" \
        -H "Authorization: Bearer $CATTLE_TOKEN" \
        -H "X-Cattle-Id: $CATTLE_ID" \
        -H "X-Cattle-Role-Etcd: ${CATTLE_ROLE_ETCD:-false}" \
        -H "X-Cattle-Role-Control-Plane: ${CATTLE_ROLE_CONTROLPLANE:-false}" \
        -H "X-Cattle-Role-Worker: ${CATTLE_ROLE_WORKER:-false}" \
        -H "X-Cattle-Node-Name: $CATTLE_NODE_NAME" \
        -H "X-Cattle-Address: $CATTLE_ADDRESS" \
        -H "X-Cattle-Internal-Address: $CATTLE_INTERNAL_ADDRESS" \
        -H "X-Cattle-Labels: $CATTLE_LABELS" \
        -H "X-Cattle-Taints: $CATTLE_TAINTS")
    [ "$STATUS" = 200 ] ||
        fatal "$STATUS received while downloading Rancher connection information: $(cat "$ANSWER" 2>/dev/null)"
    info "Successfully downloaded Rancher connection information"
}

umask 077
parse_args "$@"
check_args
WORK=$(mktemp -d) || exit 1
trap 'rm -rf "$WORK"' EXIT
check_ca
check_connection
identify
connect
info "Pretending to start rancher-system-agent.service"
