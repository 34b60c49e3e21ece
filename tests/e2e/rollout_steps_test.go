package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/rancher"
)

// Steps of the scenarios about rollouts.

// addNodes makes a cluster with nodes that run an OS.
func addNodes(t *testing.T, ns, cluster, os string, names ...string) {
	t.Helper()
	createCluster(t, ns, cluster)
	managementCluster(t, ns, cluster)
	var nodes []rancher.Node
	for _, name := range names {
		nodes = append(nodes, rancher.Node{Name: name, OS: os})
	}
	require.NoError(t, world.Rancher.AddNodes(t.Context(), ns, cluster, nodes...))
}

func patch(t *testing.T, ns, image, change string) {
	t.Helper()
	kubectl(t, "patch", "managedosimage", image, "-n", ns, "--type", "merge", "-p", change)
}

// statusOf is the image's status, once it is as check wants it.
func statusOf(t *testing.T, ns, name string, check func(v1.ManagedOSImageStatus) error) v1.ManagedOSImageStatus {
	t.Helper()
	var status v1.ManagedOSImageStatus
	eventually(t, func() error {
		image, err := world.Clients.RancherOS.ManagedOSImage().Get(ns, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		status = image.Status
		if status.Nodes == nil {
			return fmt.Errorf("image %s has no status yet", name)
		}
		if check == nil {
			return nil
		}
		return check(status)
	})
	return status
}

// reports are those in status.attention, each as "cluster node state reason".
func reports(status v1.ManagedOSImageStatus) []string {
	var lines []string
	for _, report := range status.Attention {
		lines = append(lines, strings.Join([]string{report.Cluster, report.Node, report.State, report.Reason}, " "))
	}
	return lines
}
