package why

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

func (s *story) version(f Facts) {
	version := f.Version
	if len(version.Status.Conditions) > 0 {
		s.ready("ManagedOSVersion", version, version.Status.Conditions, version.Status.ObservedGeneration)
	} else {
		s.say("ManagedOSVersion %s/%s is release %s", version.Namespace, version.Name, version.Spec.Version)
	}
	if version.Spec.MinVersion != "" {
		s.say("Only nodes that run %s or newer are upgraded to it directly", version.Spec.MinVersion)
	}
	if channel := version.Labels[v1.LabelChannel]; channel != "" {
		s.say("ManagedOSVersionChannel %s has found it", channel)
	}
	if _, gone := version.Labels[v1.LabelNoLongerListed]; gone {
		s.say("That channel does not list it any more, and no image follows it there")
	}
	s.followers(f)
}

func (s *story) followers(f Facts) {
	if len(f.Images) == 0 {
		s.say("No ManagedOSImage rolls it out")
		return
	}
	s.say("Rolled out by ManagedOSImage %s", several(f.Images))
}

func (s *story) channel(f Facts) {
	channel, status := f.Channel, f.Channel.Status
	s.ready("ManagedOSVersionChannel", channel, status.Conditions, status.ObservedGeneration)
	if status.LastSync == nil {
		s.say("It has never given a good answer")
	} else {
		s.say("It last gave a good answer %s ago, or within the hour after", s.ago(*status.LastSync))
	}
	s.say("It holds %s%s", plural(status.Versions, "version"), with(", the newest of them ", status.LatestVersion))
	interval := channel.Spec.PollInterval
	if interval == "" {
		interval = "60m"
	}
	if !channel.Spec.Suspend {
		s.say("It is asked every %s; the annotation %s asks it at once", interval, v1.AnnotationSyncChannel)
	}
	s.followers(f)
}

func (s *story) seed(f Facts) {
	seed, status := f.Seed, f.Seed.Status
	s.ready("SeedImage", seed, status.Conditions, status.ObservedGeneration)
	if f.Registration == nil {
		s.say("There is no MachineRegistration %s", seed.Spec.RegistrationName)
	} else if ready := meta.FindStatusCondition(f.Registration.Status.Conditions, v1.ConditionReady); ready != nil && ready.Status != metav1.ConditionTrue {
		s.say("Its MachineRegistration %s is not ready (%s): %s", f.Registration.Name, ready.Reason, ready.Message)
	} else {
		s.say("Machines that boot it register at MachineRegistration %s", f.Registration.Name)
	}
	line := "It was handed out " + plural(status.Downloads, "time")
	if seed.Spec.MaxDownloads != nil {
		line += " of " + plural(*seed.Spec.MaxDownloads, "time")
	}
	s.say("%s", line)
	if seed.Spec.ExpiresAt != nil && seed.Spec.ExpiresAt.After(s.now) {
		s.say("Its address works until %s", seed.Spec.ExpiresAt.UTC().Format("2006-01-02 15:04 MST"))
	}
	if base := status.Base; base != nil && base.Checksum != "" {
		s.say("Its base is %s", base.Checksum)
	}
}
