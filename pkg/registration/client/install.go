package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// installScript is where Rancher serves the script that makes a machine a node.
const installScript = "/system-agent-install.sh"

// InstallScript fetches Rancher's install script, over a connection that is trusted or not at all.
func InstallScript(ctx context.Context, endpoint Endpoint) ([]byte, error) {
	script, err := fetchScript(ctx, &endpoint)
	if err != nil {
		return nil, Explain(err, endpoint.host())
	}
	return script, nil
}

func fetchScript(ctx context.Context, endpoint *Endpoint) ([]byte, error) {
	target, err := endpoint.path(installScript)
	if err != nil {
		return nil, err
	}
	get, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	config, err := endpoint.tlsConfig()
	if err != nil {
		return nil, err
	}
	script, _, err := endpoint.get(get, config)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(script, []byte("#!")) {
		return nil, &Failure{Cause: CauseBadAnswer, Message: endpoint.host() + installScript + " is not a script",
			Hint: "a captive portal or a proxy may answer in the server's place"}
	}
	return script, nil
}

// InstallArguments are the script's arguments that make this machine the node that its inventory describes, all but the
// cluster's token: arguments are for everybody on the machine to read, and for logs. ca is what TrustedCACerts returned:
// Rancher's agent checks what it downloads against its checksum.
func InstallArguments(endpoint Endpoint, ca []byte, answer *protocol.InventoryAnswer) ([]string, error) {
	server, err := endpoint.path("")
	if err != nil {
		return nil, err
	}
	args := []string{"--server", server.String()}
	if len(bytes.TrimSpace(ca)) > 0 {
		sum := sha256.Sum256(ca)
		args = append(args, "--ca-checksum", hex.EncodeToString(sum[:]))
	}
	roles, err := roleFlags(answer.Role)
	if err != nil {
		return nil, err
	}
	args = append(args, roles...)
	for _, label := range answer.Labels {
		args = append(args, "--label", label)
	}
	for _, taint := range answer.Taints {
		args = append(args, "--taints", taint)
	}
	for _, option := range []struct{ flag, value string }{
		{"--address", answer.Address}, {"--internal-address", answer.InternalAddress}, {"--node-name", answer.NodeName},
	} {
		if option.value != "" {
			args = append(args, option.flag, option.value)
		}
	}
	return args, checkArguments(args)
}

// tokenVariable is where the script looks for the token that is not among its arguments.
const tokenVariable = "CATTLE_TOKEN"

// scriptVariables are those that say what the arguments say. One that is left over from somewhere would give the machine a
// role or a label that its inventory does not.
var scriptVariables = []string{tokenVariable, "CATTLE_SERVER", "CATTLE_CA_CHECKSUM", "CATTLE_ADDRESS", "CATTLE_INTERNAL_ADDRESS", "CATTLE_LABELS",
	"CATTLE_TAINTS", "CATTLE_NODE_NAME", "CATTLE_ROLE_ETCD", "CATTLE_ROLE_CONTROLPLANE", "CATTLE_ROLE_WORKER", "CATTLE_ROLE_NONE"}

// InstallEnvironment is the script's environment: this program's, and the cluster's token.
func InstallEnvironment(environment []string, answer *protocol.InventoryAnswer) ([]string, error) {
	if !usable(answer.Token) || strings.HasPrefix(answer.Token, "-") {
		return nil, unusable("--token")
	}
	kept := slices.DeleteFunc(slices.Clone(environment), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(scriptVariables, name)
	})
	return append(kept, tokenVariable+"="+answer.Token), nil
}

// roleFlags translates rancherd's words for what a machine does in its cluster.
func roleFlags(role string) ([]string, error) {
	var etcd, controlPlane, worker bool
	for word := range strings.SplitSeq(role, ",") {
		switch strings.ToLower(strings.TrimSpace(word)) {
		case "server", "cluster-init":
			etcd, controlPlane, worker = true, true, true
		case "agent", "worker":
			worker = true
		case "etcd":
			etcd = true
		case "control-plane", "controlplane":
			controlPlane = true
		default:
			return nil, &Failure{Cause: CauseBadAnswer, Message: fmt.Sprintf("the server gives this machine the unknown role %.40q", role),
				Hint: "set spec.config.role of the machineinventory to server, agent, or words of etcd, control-plane, worker"}
		}
	}
	var flags []string
	for _, option := range []struct {
		flag string
		set  bool
	}{{"--etcd", etcd}, {"--controlplane", controlPlane}, {"--worker", worker}} {
		if option.set {
			flags = append(flags, option.flag)
		}
	}
	return flags, nil
}

// checkArguments refuses values that the script would take for something else.
func checkArguments(args []string) error {
	for i, arg := range args {
		value := i > 0 && strings.HasPrefix(args[i-1], "--") && !isRoleFlag(args[i-1])
		if !usable(arg) || (value && strings.HasPrefix(arg, "-")) {
			return unusable(args[max(i-1, 0)])
		}
	}
	return nil
}

func usable(value string) bool {
	return value != "" && !strings.ContainsFunc(value, unicode.IsControl)
}

func unusable(flag string) error {
	return &Failure{Cause: CauseBadAnswer, Message: fmt.Sprintf("the server's value for %s cannot be used", flag),
		Hint: "correct spec.config of the machineinventory"}
}

func isRoleFlag(flag string) bool {
	return flag == "--etcd" || flag == "--controlplane" || flag == "--worker"
}

// ShellQuote makes a command line of words, each quoted where a shell would read it otherwise.
func ShellQuote(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		safe := strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@%+") == ""
		if word == "" || !safe {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		quoted[i] = word
	}
	return strings.Join(quoted, " ")
}
