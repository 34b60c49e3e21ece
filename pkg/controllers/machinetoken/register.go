package machinetoken

import (
	"context"
	"sync"

	corev1controllers "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/index"
)

// handlerName is stored nowhere, but shows in logs and metrics: keep it.
const handlerName = "machinetoken"

type handler struct {
	secrets corev1controllers.SecretCache
	indexes *index.Indexes
	events  record.EventRecorder

	mutex sync.Mutex
	// told is what was last said about each Secret. There is no status on a Secret to keep it in, so a new leader says
	// it once more.
	told map[string]problem
}

// Register adds the controller's handlers to the clients.
func Register(ctx context.Context, c *clients.Clients, indexes *index.Indexes) {
	h := &handler{secrets: c.MachineTokens.Cache(), indexes: indexes, events: c.Events, told: map[string]problem{}}
	c.MachineTokens.OnChange(ctx, handlerName, h.onSecret)
}
