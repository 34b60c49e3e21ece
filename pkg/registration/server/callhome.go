package server

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// callHome takes a known machine's report, and tells it whether it still has its place. The answer holds no secret and costs the API
// server nothing: every machine asks every hour.
func (s *Server) callHome(ctx context.Context, who caller) (*protocol.Assignment, error) {
	inventory, err := s.provenInventory(who.Identity)
	if err != nil {
		return nil, err
	}
	s.recordFacts(ctx, inventory, who)
	if err := mayHave(inventory); err != nil {
		return nil, err
	}
	token, err := s.Indexes.ClusterTokenOf(inventory)
	if err != nil {
		return nil, err
	}
	condition := meta.FindStatusCondition(inventory.Status.Conditions, v1.ConditionClusterAssigned)
	switch {
	case inventory.DeletionTimestamp == nil && inventory.Spec.ClusterName != "" && token != nil:
		return &protocol.Assignment{State: protocol.StateAssigned}, nil
	case inventory.Spec.ClusterName == "" && condition != nil && condition.Reason == v1.ReasonReleased:
		return &protocol.Assignment{State: protocol.StateReleased}, nil
	default:
		return &protocol.Assignment{State: protocol.StateNotAssigned, RetryAfter: assignmentRetry}, nil
	}
}

// recordFacts passes on what the machine says about itself, if it does.
func (s *Server) recordFacts(ctx context.Context, inventory *v1.MachineInventory, who caller) {
	if s.Facts != nil && who.Facts != nil {
		s.Facts.Record(ctx, inventory, *who.Facts)
	}
}
