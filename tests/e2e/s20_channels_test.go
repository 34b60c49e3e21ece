package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A channel's releases become versions, a new one is found at the next question, and a channel in trouble keeps what it
// has and says why.
func Test20Channel(t *testing.T) {
	ns := namespace(t, "s20-channel")
	server := newReleases(t)
	server.publish("v1.0.0", "v1.1.0", "v2.0.0-rc1")
	apply(t, server.channel(ns, "stable", ""))
	waitFor(t, ns, "moschannel/stable", "Ready", "Synced")
	require.Equal(t, []string{"v1.0.0", "v1.1.0", "v2.0.0-rc1"}, versionsOf(t, ns, "-l", "rancheros.cattle.io/channel=stable"))
	require.Equal(t, "v1.1.0 3", kubectl(t, "get", "moschannel", "stable", "-n", ns, "-o", "jsonpath={.status.latestVersion} {.status.versions}"))
	require.Equal(t, "v1.1.0 container v0.1.0 registry.example.com/rancher/os2:v1.1.0", kubectl(t, "get", "mosversion", "v1.1.0", "-n", ns, "-o",
		"jsonpath={.spec.version} {.spec.type} {.spec.minVersion} {.spec.metadata.upgradeImage}"))
	require.Contains(t, kubectl(t, "get", "moschannel", "stable", "-n", ns), "versions: 3, the newest is v1.1.0", "kubectl get shows it")

	server.publish("v1.0.0", "v1.1.0", "v2.0.0-rc1", "v1.2.0")
	syncNow(t, ns, "stable", "1")
	require.Contains(t, versionsOf(t, ns), "v1.2.0")
	eventually(t, func() error {
		return equal("latestVersion", kubectl(t, "get", "moschannel", "stable", "-n", ns, "-o", "jsonpath={.status.latestVersion}"), "v1.2.0")
	})

	server.say(http.StatusServiceUnavailable, canary)
	syncNow(t, ns, "stable", "2")
	waitFor(t, ns, "moschannel/stable", "Ready", "RequestRefused")
	require.NotContains(t, kubectl(t, "get", "moschannel", "stable", "-n", ns, "-o", "yaml"), canary)
	server.say(http.StatusOK, "[]")
	syncNow(t, ns, "stable", "3")
	waitFor(t, ns, "moschannel/stable", "Ready", "EmptyChannel")
	require.Len(t, versionsOf(t, ns), 4, "nothing is taken away")
	server.publish("v1.1.0", "v2.0.0-rc1", "v1.2.0")
	syncNow(t, ns, "stable", "4")
	waitFor(t, ns, "moschannel/stable", "Ready", "Synced")
	require.Equal(t, []string{"v1.0.0"}, versionsOf(t, ns, "-l", "rancheros.cattle.io/no-longer-listed"))

	// What somebody deletes is put back; what is not listed any more goes on request.
	kubectl(t, "delete", "mosversion", "v1.2.0", "-n", ns)
	eventually(t, func() error {
		_, err := world.Kubectl(t.Context(), "get", "mosversion", "v1.2.0", "-n", ns)
		return err
	})
	kubectl(t, "patch", "moschannel", "stable", "-n", ns, "--type", "merge", "-p", `{"spec":{"prune":true}}`)
	eventually(t, func() error { return gone(t.Context(), "mosversion", "v1.0.0", "-n", ns) })

	kubectl(t, "delete", "moschannel", "stable", "-n", ns)
	eventually(t, func() error { return gone(t.Context(), "mosversion", "-n", ns) })
}

// A new release reaches the clusters of an image that follows the channel as soon as the channel is asked.
func Test20ImageFollowsChannel(t *testing.T) {
	ns := namespace(t, "s20-follow")
	createCluster(t, ns, "site")
	apply(t, fmt.Sprintf(imageManifest, "os", ns, "{managedOSVersionChannelName: stable, clusterTargets: [{clusterName: site}]}"))
	waitFor(t, ns, "mosimage/os", "Delivered", "ChannelNotFound")
	server := newReleases(t)
	server.publish("v1.9.0", "v1.0.0", "v2.0.0-rc1")
	apply(t, server.channel(ns, "stable", ", pollInterval: 1m"))
	runs := func(version string) {
		plan(t, ns, "site", "os", func(spec map[string]any) error {
			upgrade, _ := spec["upgrade"].(map[string]any)
			return equal("upgrade.image", upgrade["image"], "registry.example.com/rancher/os2:"+version)
		})
	}
	runs("v1.9.0")
	server.publish("v1.10.0", "v1.9.0", "v1.0.0", "v2.0.0-rc1")
	syncNow(t, ns, "stable", "1")
	runs("v1.10.0")
	kubectl(t, "delete", "mosimage", "os", "-n", ns)
	kubectl(t, "delete", "moschannel", "stable", "-n", ns)
}

// A server that never answers holds up no other channel.
func Test20SlowChannel(t *testing.T) {
	ns := namespace(t, "s20-slow")
	release := make(chan struct{})
	slow := newReleases(t)
	slow.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) })
	for i := range 8 {
		apply(t, slow.channel(ns, fmt.Sprintf("slow-%d", i), ""))
	}
	fast := newReleases(t)
	fast.publish("v1.0.0")
	apply(t, fast.channel(ns, "fast", ""))
	waitFor(t, ns, "moschannel/fast", "Ready", "Synced")
	waitFor(t, ns, "moschannel/slow-0", "Ready", "Unreachable")
	kubectl(t, "delete", "moschannel", "--all", "-n", ns)
}

// A channel that has nothing new costs no write: not for the question, and not when the operator starts anew.
func Test20UnchangedChannelIsNotWritten(t *testing.T) {
	ns := namespace(t, "s20-quiet")
	server := newReleases(t)
	server.publish("v1.0.0")
	apply(t, server.channel(ns, "stable", ""))
	waitFor(t, ns, "moschannel/stable", "Ready", "Synced")
	syncNow(t, ns, "stable", "1")
	_, unchanged := server.counts()
	require.Equal(t, 1, unchanged, "the server is asked for news only")
	asked, _ := server.counts()
	requireUnchangedByRestart(t)
	again, _ := server.counts()
	require.Equal(t, asked, again, "a restart asks nobody that was just asked")
	kubectl(t, "delete", "moschannel", "stable", "-n", ns)
}

// A channel of type custom is a Job without rights. There is no kubelet here: what its pod would do is played, up to the
// log, which only a kubelet has; package oschannel tests that.
func Test20CustomChannel(t *testing.T) {
	ns := namespace(t, "s20-custom")
	kubectl(t, "label", "namespace", ns, "pod-security.kubernetes.io/enforce=restricted")
	apply(t, fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: ManagedOSVersionChannel\nmetadata: {name: own, namespace: %s}\nspec: {type: custom, options: {image: \"registry.example.com/tools/versions:v1\"}}\n", ns))
	var pod string
	eventually(t, func() error {
		pods, err := world.Kubectl(t.Context(), "get", "pods", "-n", ns, "-l", "rancheros.cattle.io/channel=own", "-o", "jsonpath={.items[*].metadata.name}")
		if pod = strings.TrimSpace(pods); err == nil && pod == "" {
			err = fmt.Errorf("the Job has no pod")
		}
		return err
	})
	require.Equal(t, "false", kubectl(t, "get", "pod", pod, "-n", ns, "-o", "jsonpath={.spec.automountServiceAccountToken}"))
	job := kubectl(t, "get", "jobs", "-n", ns, "-o", "jsonpath={.items[*].metadata.name}")
	kubectl(t, "patch", "pod", pod, "-n", ns, "--subresource", "status", "--type", "merge", "-p",
		`{"status":{"phase":"Failed","containerStatuses":[{"name":"channel","image":"x","imageID":"","ready":false,"restartCount":0,"state":{"terminated":{"exitCode":3,"reason":"Error"}}}]}}`)
	waitFor(t, ns, "moschannel/own", "Ready", "JobFailed")
	require.Contains(t, kubectl(t, "get", "moschannel", "own", "-n", ns), "its container says Error, exit code 3")
	eventually(t, func() error { return gone(t.Context(), "job", job, "-n", ns) })
	eventually(t, func() error { return gone(t.Context(), "pod", pod, "-n", ns) })
	kubectl(t, "delete", "moschannel", "own", "-n", ns)
}
