package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A tunnel that breaks is dialed again, and machines go on registering.
func Test08TunnelReturns(t *testing.T) {
	ns := namespace(t, "s08-tunnel")
	url := registration(t, ns, "edge", "{}")
	require.Equal(t, 1, world.Rancher.DropTunnels())
	// Rancher itself holds the request back until the tunnel is there again.
	register(t, newMachine(t, "S08-1"), ns, url)
}
