package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/harness"
)

const tunnelSecretName = "rancheros-operator-tunnel"

// A tunnel that breaks is dialed again, and machines go on registering.
func Test08TunnelReturns(t *testing.T) {
	ns := namespace(t, "s08-tunnel")
	url := registration(t, ns, "edge", "{}")
	began := time.Now()
	require.Equal(t, world.Replicas(), world.Rancher.DropTunnels())
	eventually(t, func() error { return tunnels(world.Replicas()) })
	took := time.Since(began)
	t.Logf("the tunnel was back after %s", took)
	require.Less(t, took, 2*time.Second)
	register(t, newMachine(t, "S08-1"), ns, url)

	// Nor does it matter when nobody waits for it: Rancher itself holds the request back.
	require.Equal(t, world.Replicas(), world.Rancher.DropTunnels())
	register(t, newMachine(t, "S08-2"), ns, url)
}

// A connection that a firewall has forgotten is given up although nobody has closed it.
func Test08TunnelHalfOpen(t *testing.T) {
	ns := namespace(t, "s08-silence")
	url := registration(t, ns, "edge", "{}")
	m := newMachine(t, "S08-3")
	began := time.Now()
	thaw := world.Rancher.FreezeTunnels()
	defer thaw()
	eventually(t, func() error {
		if open := world.Rancher.Tunnels(); open < 2*world.Replicas() {
			return fmt.Errorf("not every replica has dialed anew: %d tunnels", open)
		}
		return nil
	})
	noticed := time.Since(began)
	t.Logf("the silence was noticed after %s", noticed)
	require.Less(t, noticed, 15*time.Second)
	thaw()
	eventually(t, func() error { return tunnels(world.Replicas()) })
	register(t, m, ns, url)
	took := time.Since(began)
	t.Logf("a machine had registered after %s", took)
	require.Less(t, took, 20*time.Second)
}

// Rancher rotates the token: the operator follows, so that the next break finds it with the right one.
func Test08TunnelTokenRotates(t *testing.T) {
	ns := namespace(t, "s08-token")
	url := registration(t, ns, "edge", "{}")
	before := tunnelSecret(t, "token")
	account := kubectl(t, "get", "secrets", "-n", "cattle-system", "--field-selector", "type=kubernetes.io/service-account-token", "-o", "name")
	for _, secret := range strings.Fields(account) {
		kubectl(t, "delete", secret, "-n", "cattle-system")
	}
	eventually(t, func() error {
		if tunnelSecret(t, "token") == before {
			return fmt.Errorf("Rancher has not written another token")
		}
		return nil
	})
	// Sessions outlive their token. So cut until one comes back: with the old token none does.
	eventually(t, func() error {
		world.Rancher.DropTunnels()
		return harness.Eventually(t.Context(), 5*time.Second, func() error { return tunnels(world.Replicas()) })
	})
	register(t, newMachine(t, "S08-4"), ns, url)
}

// A Secret that would turn off the check of Rancher's certificate is refused, aloud; what was good before goes on.
func Test08TunnelRefusesToBeInsecure(t *testing.T) {
	ns := namespace(t, "s08-insecure")
	url := registration(t, ns, "edge", "{}")
	ca := tunnelSecret(t, "ca.crt")
	require.NotEmpty(t, ca)
	patch := func(ca string) {
		kubectl(t, "patch", "secret", tunnelSecretName, "-n", harness.Namespace, "--type", "merge", "-p", fmt.Sprintf(`{"data":{"ca.crt":%q}}`, ca))
	}
	t.Cleanup(func() { patch(ca) })
	for content, reason := range map[string]string{"": "TunnelInsecure", "Z2FyYmFnZQ==": "TunnelCAInvalid"} {
		patch(content)
		eventually(t, func() error {
			events := kubectl(t, "get", "events", "-n", harness.Namespace, "-o",
				`jsonpath={range .items[?(@.involvedObject.name=="`+tunnelSecretName+`")]}{.reason}: {.message}{"\n"}{end}`)
			if !strings.Contains(events, reason+": ca.crt ") {
				return fmt.Errorf("no event %s: %s", reason, events)
			}
			return nil
		})
		require.Equal(t, world.Replicas(), world.Rancher.DropTunnels(), "the tunnel was not given up")
		eventually(t, func() error { return tunnels(world.Replicas()) })
		register(t, newMachine(t, "S08-"+reason), ns, url)
	}
}

func tunnels(want int) error {
	return equal("tunnels", fmt.Sprint(world.Rancher.Tunnels()), fmt.Sprint(want))
}

// tunnelSecret is a value of the Secret that Rancher writes for the operator, in base64.
func tunnelSecret(t *testing.T, key string) string {
	t.Helper()
	return kubectl(t, "get", "secret", tunnelSecretName, "-n", harness.Namespace, "-o", "jsonpath={.data."+strings.ReplaceAll(key, ".", `\.`)+"}")
}
