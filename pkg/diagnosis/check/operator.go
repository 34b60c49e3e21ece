package check

import (
	"context"
	"os"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// leaseName is the operator's, in its namespace.
const leaseName = "rancheros-operator"

// leader is the replica that runs the controllers.
func (c *cluster) leader(ctx context.Context) []Finding {
	const topic = "leader"
	lease, err := c.kube.CoordinationV1().Leases(c.Namespace).Get(ctx, leaseName, metav1.GetOptions{})
	switch {
	case isMissing(err):
		return []Finding{found(topic, "no replica has ever led: there is no lease %s/%s", c.Namespace, leaseName).
			at(Warning, "start the operator; with --leader-elect=false this is as it should be")}
	case err != nil:
		return []Finding{unseen(topic, "the operator's lease", err)}
	case lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || lease.Spec.RenewTime == nil || lease.Spec.LeaseDurationSeconds == nil:
		return []Finding{found(topic, "the last leader has given the lease back, and nobody has taken it").at(Warning, "look whether the operator runs")}
	}
	silent := c.now.Sub(lease.Spec.RenewTime.Time).Round(time.Second)
	if silent > time.Duration(*lease.Spec.LeaseDurationSeconds)*time.Second {
		return []Finding{found(topic, "%s has not renewed its lease for %s, and nobody has taken over", *lease.Spec.HolderIdentity, silent).
			at(Problem, "look whether the operator runs, and at its log")}
	}
	return []Finding{ok(topic, "%s leads", *lease.Spec.HolderIdentity)}
}

// leastRoom is what a small base takes.
const leastRoom = 1 << 30

// media are kept in a folder.
func (c *cluster) media(context.Context) []Finding {
	const topic = "media folder"
	if c.MediaDir == "" {
		return nil
	}
	file, err := os.CreateTemp(c.MediaDir, ".check-*")
	if err != nil {
		return []Finding{found(topic, "nothing can be written to %s: %v", c.MediaDir, err).
			at(Problem, "mount a volume there that user 65532 may write to; without one there are no boot media")}
	}
	name := file.Name()
	_ = file.Close()
	_ = os.Remove(name)
	var disk syscall.Statfs_t
	if err := syscall.Statfs(c.MediaDir, &disk); err == nil && disk.Bavail*uint64(disk.Bsize) < leastRoom {
		return []Finding{found(topic, "%s has less than 1 GiB left", c.MediaDir).at(Warning, "give it more, or delete SeedImages that are not needed")}
	}
	return []Finding{ok(topic, "%s can be written to", c.MediaDir)}
}
