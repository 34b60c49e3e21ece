package server

import (
	"context"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/machine"
	"github.com/rancher/rancheros-operator/pkg/status"
)

const (
	// seenEvery is how exact lastSeen is: a machine that has nothing new to say costs one small write in that time.
	seenEvery = time.Hour
	// maxReports bounds the reports that wait to be written. One that is dropped comes again with the next call home.
	maxReports = 1024
	// maxAddresses is the schema's own bound.
	maxAddresses = 64
)

// FactsWriter puts what machines report about themselves into the status of their inventories.
type FactsWriter struct {
	inventories status.Patcher[*v1.MachineInventory]
	now         func() time.Time
	reports     chan report
}

type report struct {
	inventory *v1.MachineInventory
	facts     machine.Facts
}

// NewFactsWriter makes a writer; Run does the writing.
func NewFactsWriter(inventories status.Patcher[*v1.MachineInventory]) *FactsWriter {
	return &FactsWriter{inventories: inventories, now: time.Now, reports: make(chan report, maxReports)}
}

// Record takes a report, unless it says nothing new.
func (f *FactsWriter) Record(_ context.Context, inventory *v1.MachineInventory, facts machine.Facts) {
	if !f.isNews(&inventory.Status, facts) {
		return
	}
	select {
	case f.reports <- report{inventory, facts}:
	default:
	}
}

func (f *FactsWriter) isNews(known *v1.MachineInventoryStatus, facts machine.Facts) bool {
	return known.LastSeen == nil || f.now().Sub(known.LastSeen.Time) >= seenEvery || known.Hostname != facts.Hostname ||
		known.OSImage != facts.OSImage || known.OSVersion != facts.OSVersion || !slices.Equal(known.Addresses, bounded(facts.Addresses))
}

func bounded(addresses []string) []string {
	return addresses[:min(len(addresses), maxAddresses)]
}

// Run writes until ctx ends.
func (f *FactsWriter) Run(ctx context.Context) error {
	for {
		select {
		case report := <-f.reports:
			f.write(report)
		case <-ctx.Done():
			return nil
		}
	}
}

// write loses against anybody else who writes at the same moment: the machine will call home again.
func (f *FactsWriter) write(report report) {
	desired := report.inventory.DeepCopy()
	into, seen := &desired.Status, metav1.NewTime(f.now().Truncate(time.Second))
	into.Hostname, into.OSImage, into.OSVersion = report.facts.Hostname, report.facts.OSImage, report.facts.OSVersion
	into.Addresses, into.LastSeen = slices.Clone(bounded(report.facts.Addresses)), &seen
	if _, err := status.Write(f.inventories, report.inventory, desired); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		logrus.WithField("machine", report.inventory.Namespace+"/"+report.inventory.Name).Warnf("recording what the machine reports: %v", err)
	}
}
