package why

import (
	"fmt"
	"strings"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// mostReports is how many nodes and clusters get a sentence of their own.
const mostReports = 5

func (s *story) image(f Facts) {
	image, status := f.Image, f.Image.Status
	s.ready("ManagedOSImage", image, status.Conditions, status.ObservedGeneration)
	s.troubles(status.Conditions, []string{v1.ConditionDelivered}, []string{v1.ConditionDegraded, v1.ConditionConflict})
	if status.Image != "" {
		s.say("It rolls out %s%s", status.Image, sourceOf(image))
	}
	if nodes := status.Nodes; nodes != nil {
		s.say("Of %s, %s", plural(nodes.Total, "node"), counted([]count{
			{nodes.UpToDate, "run it"}, {nodes.Updating, "are being upgraded"}, {nodes.Pending, "wait for their turn"}, {nodes.Failed, "have failed"},
			{nodes.FellBack, "have fallen back"}, {nodes.Blocked, "are blocked"}, {nodes.Offline, "are offline"}}))
	}
	for i, report := range status.Attention {
		if i == mostReports {
			s.say("%d more are in status.attention", len(status.Attention)-mostReports)
			break
		}
		s.say("%s %s (%s): %s", place(report), report.State, report.Reason, report.Message)
	}
	for _, conflict := range status.Conflicts {
		s.say("Cluster %s belongs to ManagedOSImage %s, which is older", conflict.Cluster, conflict.Image)
	}
	s.delivery(f)
}

// sourceOf is why it is this image.
func sourceOf(image *v1.ManagedOSImage) string {
	switch {
	case image.Spec.OSImage != "":
		return ""
	case image.Spec.ManagedOSVersionName != "":
		return ", by ManagedOSVersion " + image.Spec.ManagedOSVersionName
	case image.Spec.ManagedOSVersionChannelName != "":
		return ", the newest of ManagedOSVersionChannel " + image.Spec.ManagedOSVersionChannelName
	}
	return ""
}

func place(report v1.NodeReport) string {
	if report.Node == "" {
		return "Cluster " + report.Cluster + ":"
	}
	return "Node " + report.Node + " of cluster " + report.Cluster + ":"
}

// delivery is Fleet's part.
func (s *story) delivery(f Facts) {
	if f.Bundle == nil {
		return
	}
	if !f.Bundle.Found {
		s.say("There is no Bundle %s: nothing has been given to Fleet", f.Bundle.Name)
		return
	}
	ready, told := 0, 0
	for _, deployment := range f.Deployments {
		if deployment.Ready {
			ready++
		}
	}
	s.say("Fleet has brought Bundle %s to %d of %s", f.Bundle.Name, ready, plural(len(f.Deployments), "cluster"))
	for _, deployment := range f.Deployments {
		if deployment.Ready || told == mostReports {
			continue
		}
		told++
		if deployment.Message == "" {
			s.say("In cluster %s it is not ready yet", deployment.Cluster)
			continue
		}
		s.say("In cluster %s it is not ready: %s", deployment.Cluster, deployment.Message)
	}
}

type count struct {
	number int
	words  string
}

func counted(counts []count) string {
	var parts []string
	for _, count := range counts {
		if count.number > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count.number, count.words))
		}
	}
	if len(parts) == 0 {
		return "none is known"
	}
	return strings.Join(parts, ", ")
}
