package netboot

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// checkEvery is how often the registrations' addresses are tried. That takes no download off a SeedImage.
const checkEvery = 5 * time.Minute

// checks knows whether the operator hands out what machines boot, before a machine asks.
type checks struct {
	mutex    sync.Mutex
	config   *Config
	upstream *upstream
	log      logrus.FieldLogger
	now      func() time.Time
	found    map[string]RegistrationStatus
}

func (c *checks) run(ctx context.Context) error {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		for _, registration := range c.config.Registrations {
			c.check(ctx, registration)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// check asks for the script and for the ISO's header, and logs what has changed since.
func (c *checks) check(ctx context.Context, registration *Registration) {
	ctx, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	problem := ""
	if registration.IPXEURL != "" {
		if _, err := c.upstream.script(ctx, registration.IPXEURL); err != nil {
			problem = "ipxeURL: " + err.Error()
		}
	}
	if registration.DownloadURL != "" && problem == "" {
		response, err := c.upstream.get(ctx, http.MethodHead, registration.DownloadURL, nil)
		if err != nil {
			problem = "downloadURL: " + err.Error()
		} else {
			_ = response.Body.Close()
		}
	}
	if ctx.Err() != nil && problem != "" && errors.Is(context.Cause(ctx), context.Canceled) {
		return // The server stops.
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	before, known := c.found[registration.Name]
	c.found[registration.Name] = RegistrationStatus{Name: registration.Name, Ready: problem == "", Problem: problem, Checked: c.now()}
	log := c.log.WithField("registration", registration.Name)
	switch {
	case known && before.Problem == problem:
	case problem != "":
		log.Warnf("machines cannot boot into it now: %s", problem)
	default:
		log.Info("machines can boot into it")
	}
}

func (c *checks) all() []RegistrationStatus {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	list := make([]RegistrationStatus, 0, len(c.config.Registrations))
	for _, registration := range c.config.Registrations {
		status := c.found[registration.Name]
		status.Name = registration.Name
		list = append(list, status)
	}
	return list
}
